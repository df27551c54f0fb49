"""What `interp doctor` looks at; each check is a function that gives findings and changes nothing."""

import importlib.util
import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

__all__ = ["CHECKS", "Finding", "examine"]

_SLOW_PLUGIN_MS = 100.0
_LOW_DISK = 5 << 30
_EXTRAS = {"tensorboard": "tensorboard", "wandb": "wandb", "trackio": "trackio", "zarr": "zarr"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        topic: What it is about.
        level: "ok", "note", "warning" or "error".
        text: What was found.
        advice: What to do; empty when nothing needs to be done.
    """

    topic: str
    level: Literal["ok", "note", "warning", "error"]
    text: str
    advice: str = ""


def examine() -> list[Finding]:
    """Make all checks; one that raises is itself a finding."""
    findings: list[Finding] = []
    for check in CHECKS:
        try:
            findings += check()
        except Exception as err:  # noqa: BLE001 - the doctor must not fall ill itself
            findings.append(Finding(check.__name__.strip("_"), "error", f"{type(err).__name__}: {err}"))
    return findings


def _python() -> Iterator[Finding]:
    text = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if (3, 11) <= sys.version_info < (3, 13):
        yield Finding("python", "ok", text)
    else:
        yield Finding("python", "error", text, "use Python 3.11 or 3.12: aim has no wheels for others")


def _torch() -> Iterator[Finding]:
    import torch

    build = f"torch {torch.__version__}"
    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        yield Finding("device", "ok", f"{build}, {names}")
    elif torch.backends.mps.is_available():
        yield Finding(
            "device", "note", f"{build}, Apple MPS", "float32 there, sums of scores on the CPU; no bitsandbytes"
        )
    elif torch.version.cuda and shutil.which("nvidia-smi"):
        yield Finding("device", "error", f"{build} (CUDA {torch.version.cuda}) sees no GPU", _driver_advice())
    else:
        yield Finding("device", "ok", f"{build}, CPU with {torch.get_num_threads()} threads")


def _driver_advice() -> str:
    done = subprocess.run(["nvidia-smi"], capture_output=True, text=True, check=False)  # noqa: S607
    line = next((line.strip("| ") for line in done.stdout.splitlines() if "CUDA Version" in line), "")
    return f"nvidia-smi says: {line or done.stderr.strip()}; install a torch build for that driver"


def _hardware() -> Iterator[Finding]:
    """Each device with its memory and what is used on it unless the user says otherwise."""
    from interp_cli.console import size
    from interp_registry.hardware import probe

    devices = probe()
    for device in devices:
        memory = f"{size(device.memory)} memory, {size(device.free)} free" if device.memory else "memory unknown"
        yield Finding(
            device.name, "ok", f"{device.model}: {memory}; weights in {device.dtype}, attention {device.attention}"
        )
    yield Finding("methods", "ok", "; ".join(_choices_of_methods(devices[0].dtype)) + f"; on {devices[0].name}")


def _choices_of_methods(dtype: str) -> Iterator[str]:
    """What each method computes in on the best device: the device's type where its configuration leaves that open."""
    from interp_registry.config_io import fields_of
    from interp_registry.discovery import discover

    for name, method in sorted(discover().methods.items()):
        fields = [fields_of(stage.config_type) for stage in method.stages]
        given = [schemas["dtype"].default for schemas in fields if "dtype" in schemas]
        chosen = sorted({dtype if value == "auto" else str(value) for value in given})
        yield f"{name} {' or '.join(chosen) or 'float32'}"


def _packages() -> Iterator[Finding]:
    from packaging.requirements import Requirement

    broken: list[str] = []
    for text in requires("interp-cli") or []:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            broken.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            broken.append(f"{requirement.name} {found}, wanted {requirement.specifier}")
    if broken:
        yield Finding("packages", "error", "; ".join(broken), "pip install --upgrade interp-cli")
    else:
        yield Finding("packages", "ok", "all requirements are met")
    missing = [name for name, module in _EXTRAS.items() if importlib.util.find_spec(module) is None]
    if missing:
        yield Finding(
            "extras",
            "note",
            f"not installed: {', '.join(missing)}",
            f"pip install 'interp-cli[{','.join(missing)}]' where you want them",
        )


def _pairs() -> Iterator[Finding]:
    """Pairs of packages that break each other at import."""
    for module, advice in (
        ("accelerate", "an old botocore breaks it: pip install 'boto3>=1.40'"),
        ("timm", "torchvision"),
    ):
        done = subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["?"])[-1]
            yield Finding(module, "error", f"import fails: {last}", advice)
        else:
            yield Finding(module, "ok", version(module))


def _folders() -> Iterator[Finding]:
    from interp_cli.console import size
    from interp_registry.stores.home import home

    for topic, folder in (("home", home()), ("hub cache", _hub_cache())):
        there = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(there).free
        if not os.access(there, os.W_OK):
            yield Finding(
                topic, "error", f"{folder} cannot be written", "set INTERP_HOME (or HF_HOME) to another folder"
            )
        elif free < _LOW_DISK:
            yield Finding(
                topic, "warning", f"{folder} has {size(free)} free", "make space: interp store du, interp store gc"
            )
        else:
            yield Finding(topic, "ok", f"{folder}, {size(free)} free")


def _hub_cache() -> Path:
    return Path(os.environ.get("HF_HUB_CACHE") or _hub_home() / "hub")


def _hub_home() -> Path:
    return Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")


def _hub() -> Iterator[Finding]:
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        yield Finding("hub", "note", "HF_HUB_OFFLINE=1: nothing is downloaded")
        return
    endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    try:
        place = _host_and_port(endpoint)
    except ValueError as err:
        yield Finding("hub", "error", f"HF_ENDPOINT={endpoint!r}: {err}", "write it like https://hub.example.org:8443")
        return
    try:
        socket.create_connection(place, timeout=3).close()
    except OSError as err:
        text = f"{place[0]}, port {place[1]}, does not answer ({err})"
        yield Finding(
            "hub", "warning", text, "models must be in the cache or in a local folder; --offline says so at once"
        )
        return
    token = bool(os.environ.get("HF_TOKEN")) or (_hub_home() / "token").exists()
    advice = "" if token else "gated models need a token: hf auth login"
    yield Finding("hub", "ok", f"{place[0]}, port {place[1]}, answers; {'a' if token else 'no'} token", advice)


def _host_and_port(endpoint: str) -> tuple[str, int]:
    """Where the hub is asked.

    Raises:
        ValueError: That is no address of the web.
    """
    parts = urlsplit(endpoint)
    ports = {"https": 443, "http": 80}
    if parts.scheme not in ports or not parts.hostname:
        raise ValueError("no address that begins with https:// or http://")
    return parts.hostname, parts.port or ports[parts.scheme]


def _slurm() -> Iterator[Finding]:
    if shutil.which("sbatch") is None:
        yield Finding("slurm", "note", "not here: `interp launch local` and `ssh` work without it")
        return
    done = subprocess.run(["sinfo", "--version"], capture_output=True, text=True, check=False)  # noqa: S607
    alive = subprocess.run(["sinfo", "-h", "-o", "%P %t"], capture_output=True, text=True, check=False, timeout=20)  # noqa: S607
    if alive.returncode:
        reason = (alive.stderr.strip().splitlines() or ["?"])[-1]
        yield Finding("slurm", "warning", f"{done.stdout.strip() or 'SLURM'} does not answer", reason)
    else:
        yield Finding("slurm", "ok", f"{done.stdout.strip()}, partitions: {', '.join(alive.stdout.split()[::2])}")


def _plugins() -> Iterator[Finding]:
    from interp_registry.discovery import discover

    plugins = discover()
    for info in plugins.failed:
        advice = f"interp plugins show {info.name}; or interp plugins block {info.name}"
        yield Finding("plugin", "error", f"{info.name} of {info.distribution}: {info.error}", advice)
    for info in plugins.infos:
        if info.milliseconds > _SLOW_PLUGIN_MS and info.status == "loaded":
            text = f"{info.name} takes {info.milliseconds:.0f} ms to load"
            yield Finding("plugin", "warning", text, "it should import its heavy libraries when they are used")
    loaded = sum(info.status == "loaded" for info in plugins.infos)
    yield Finding("plugins", "ok", f"{loaded} loaded, {len(plugins.methods)} methods")


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _python,
    _torch,
    _hardware,
    _packages,
    _pairs,
    _folders,
    _hub,
    _slurm,
    _plugins,
)
"""All checks, in the order in which they are shown."""
