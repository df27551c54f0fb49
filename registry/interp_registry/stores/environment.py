"""What is remembered about the machine and the software of a run; secrets are not.

Environment variables are taken from a list of allowed names, never the other way round. Texts that users typed pass through
:func:`redact`.
"""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, cast

from interp_registry.stores.liveness import host_name

__all__ = ["collect_environment", "redact", "redact_json", "secret_values"]

_PACKAGES = (
    "interp-cli",
    "accelerate",
    "bitsandbytes",
    "datasets",
    "draccus",
    "huggingface-hub",
    "ncut-pytorch",
    "numpy",
    "safetensors",
    "scikit-learn",
    "scipy",
    "timm",
    "tokenizers",
    "torch",
    "torchvision",
    "transformers",
)
_VARIABLES = (
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_VISIBLE_DEVICES",
    "HF_HUB_OFFLINE",
    "INTERP_HOME",
    "LOCAL_RANK",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "PYTORCH_CUDA_ALLOC_CONF",
    "RANK",
    "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_JOB_ID",
    "SLURM_RESTART_COUNT",
    "WORLD_SIZE",
)
_SECRET_NAME = re.compile(
    r"TOKEN|SECRET|PASSW|PASS$|_PWD$|API_?KEY|ACCESS_?KEY|CREDENTIAL|PRIVATE|AUTH(?!OR)|COOKIE", re.IGNORECASE
)
_PASSWORD_IN_ADDRESS = re.compile(r"(://[^/\s:@\"']*:)[^/\s@\"']+(?=@)")
_SECRET_TEXT = re.compile(r"\b(?:hf_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{16,}|gh[pousr]_[A-Za-z0-9]{16,})\b")
_SHORTEST_SECRET = 6
_HIDDEN = "[hidden]"


def collect_environment(argv: Iterable[str] = (), plugins: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Versions, machine, commit and allowed environment variables, as JSON.

    Args:
        argv: The command line.
        plugins: Versions of the plugins' distributions.
    """
    variables = {name: redact(os.environ[name]) for name in _VARIABLES if name in os.environ}
    return {
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "platform": platform.platform(),
        "machine": platform.machine(),
        "host": host_name(),
        "cpus": os.cpu_count(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name)) is not None},
        "plugins": dict(plugins or {}),
        "commit": _commit(Path(__file__).parent),
        "variables": variables,
        "argv": [redact(argument) for argument in argv],
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit(folder: Path) -> dict[str, Any] | None:
    """Commit of the checkout that the code runs from; None when it is installed, or git is not there."""
    command = ["git", "-C", str(folder), "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    if not any((parent / ".git").exists() for parent in folder.parents) or "site-packages" in folder.parts:
        return None
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    lines = found.stdout.splitlines()
    commits = [line.split()[-1] for line in lines if line.startswith("# branch.oid")]
    return {"sha": commits[0], "changed": any(not line.startswith("#") for line in lines)} if commits else None


def secret_values() -> tuple[str, ...]:
    """Values of the environment variables that are named like secrets."""
    return tuple(
        value for name, value in os.environ.items() if len(value) >= _SHORTEST_SECRET and _SECRET_NAME.search(name)
    )


def redact(text: str, secrets: Iterable[str] | None = None) -> str:
    """The text without secrets: known forms of access tokens, passwords in addresses, values of variables named like secrets.

    Args:
        text: What would be written.
        secrets: What :func:`secret_values` said, where many texts are written.
    """
    shown = _PASSWORD_IN_ADDRESS.sub(rf"\1{_HIDDEN}", _SECRET_TEXT.sub(_HIDDEN, text))
    for value in secret_values() if secrets is None else secrets:
        shown = shown.replace(value, _HIDDEN)
    return shown


def redact_json(value: Any) -> Any:
    """A JSON value with :func:`redact` applied to every text in it."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {redact_json(key): redact_json(item) for key, item in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [redact_json(item) for item in cast("list[Any]", value)]
    return value
