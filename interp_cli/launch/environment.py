"""Which environment variables a launch hands on and writes down. Secrets are never written."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence

from interp_registry.errors import UsageError

__all__ = ["is_secret", "recorded", "refuse_secrets", "secret_values", "submit_environment"]

_ALLOWED = re.compile(
    r"(?:CUDA|CUBLAS|CUDNN|NVIDIA|NCCL|GLOO|TORCH|TORCHINDUCTOR|PYTORCH|OMP|MKL|OPENBLAS|NUMEXPR|KMP|TRITON)_\w+"
    r"|(?:HF|HUGGINGFACE|TRANSFORMERS|TOKENIZERS|DATASETS|ACCELERATE|TIMM|AIM|WANDB|TENSORBOARD|INTERP)_\w+"
    r"|LC_\w+|LANG|TZ|PYTHONHASHSEED|PYTHONPATH|VIRTUAL_ENV|CONDA_PREFIX|LD_LIBRARY_PATH"
)
_FOR_PROGRAMS = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|TMPDIR|TERM|NO_COLOR|HOSTNAME|XDG_\w+|SLURM_CONF|SSL_CERT_\w+|REQUESTS_CA_BUNDLE|MODULEPATH"
    r"|MODULESHOME|BASH_FUNC_module%%|LMOD_\w+|https?_proxy|HTTPS?_PROXY|no_proxy|NO_PROXY"
)
_SECRET = re.compile(
    r"TOKEN(?!IZERS)|SECRET|PASSW|CREDENTIAL|COOKIE|(?:^|_)(?:API|ACCESS|PRIVATE|AUTH|SSH|AWS)?_?KEY(?:$|_)|(?:^|_)AUTH(?:$|_)",
    re.IGNORECASE,
)
_USER_AND_PASSWORD = re.compile(r"://[^/@\s]+@")
_OF_THIS_PROCESS = frozenset(
    f"INTERP_{name}"
    for name in (
        "AGENT",
        "CHILD",
        "JOB_ID",
        "JOB_RESTART",
        "LAUNCH_ID",
        "LOG",
        "PARENT",
        "RUN_FILE",
        "TASK",
        "TASK_OFFSET",
    )
)
_LEAST_SECRET = 8
"""Shorter values are not looked for: they would be found by chance."""


def is_secret(name: str, value: str) -> bool:
    """Whether a variable looks like a secret, by its name or because its value is an address with a password."""
    return bool(_SECRET.search(name)) or bool(_USER_AND_PASSWORD.search(value))


def secret_values(environment: Mapping[str, str]) -> list[str]:
    """Values of all variables that look like secrets, long enough to be searched for."""
    found = (value for name, value in environment.items() if is_secret(name, value))
    return sorted({value for value in found if len(value) >= _LEAST_SECRET and "\n" not in value})


def recorded(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that ``launch.json`` keeps: an allow-list, without secrets."""
    return {
        name: value
        for name, value in sorted(environment.items())
        if _ALLOWED.fullmatch(name) and not is_secret(name, value) and name not in _OF_THIS_PROCESS
    }


def submit_environment(environment: Mapping[str, str], pass_names: Iterable[str] = ()) -> dict[str, str]:
    """The environment that a launcher's commands run with, and so what tasks inherit.

    Args:
        environment: This process's variables.
        pass_names: Further variables, secrets among them, that the user names. They reach the tasks through the launcher's own
            channel and are written nowhere by this tool.

    Raises:
        UsageError: A named variable is not set.
    """
    passed: dict[str, str] = {}
    for name in pass_names:
        if name not in environment:
            raise UsageError(f"--pass-env {name}: no such variable is set", "export it first")
        passed[name] = environment[name]
    needed = {name: value for name, value in environment.items() if _FOR_PROGRAMS.fullmatch(name)}
    return {**recorded(environment), **needed, **passed}


def refuse_secrets(argv: Sequence[str], environment: Mapping[str, str] = os.environ) -> None:
    """Refuse arguments that hold the value of a secret variable: arguments are written to the launch folder.

    Raises:
        UsageError: One does; the message names the variable, not its value.
    """
    for name, value in environment.items():
        if is_secret(name, value) and len(value) >= _LEAST_SECRET and any(value in word for word in argv):
            raise UsageError(f"the command holds the value of {name}", f"leave it out and add --pass-env {name}")
