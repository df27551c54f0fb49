"""Options of ``interp launch`` and ``interp sweep``, and commands made from configuration classes."""

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from interp_cli.launch.folder import Task
from interp_cli.launch.items import minutes_of
from interp_cli.launch.submit import MAX_GPUS, LaunchRequest
from interp_registry.choices import LauncherConfig, choice_names
from interp_registry.config_io import fields_of
from interp_registry.config_io.schema import MISSING, strip_optional
from interp_registry.config_io.values import from_text
from interp_registry.contracts.launcher import Resources
from interp_registry.errors import UnknownNameError, UsageError

__all__ = ["LaunchOptions", "command_from", "launcher_config", "launcher_from_text", "request_from"]


@dataclass
class LaunchOptions:
    """Options that every launcher has."""

    n_agents: int | None = None
    """tasks that run at the same time (default: what the launcher has room for)"""
    gpus: int | None = None
    """GPUs per task (default: 1 on SLURM, 1 on a machine that has one)"""
    cpu: bool = False
    """no GPUs; the same as --gpus 0"""
    cpus_per_task: int | None = None
    """CPU cores per task"""
    mem: str | None = None
    """memory per task, e.g. 64G"""
    time: str | None = None
    """time limit of a task: 8:00:00, 90 (minutes), 8h"""
    max_gpus: int = MAX_GPUS
    """most GPUs that all your launches together may hold"""
    force: bool = False
    """go over --max-gpus"""
    job_suffix: str = ""
    """name for people: in the queue and in lists"""
    snapshot: bool = True
    """freeze the code as it is now; --no-snapshot runs what is there when a task starts"""
    pass_env: list[str] = field(default_factory=list)
    """name of a variable, such as HF_TOKEN, that tasks get too; its value is written nowhere; may be given several times"""
    out: Path | None = None
    """folder for runs and launches instead of INTERP_HOME"""
    dry_run: bool = False
    """show the script and the tasks, start nothing"""
    json: bool = False
    """print one JSON object"""


def command_from(
    configs: Sequence[type], call: Callable[[Mapping[str, Any]], int], help_text: str
) -> Callable[..., int]:
    """A typer callback with one option per field of the classes; ``call`` gets the values by name.

    A launcher of a third party gets its options in this way, without any code for them here.
    """

    def command(ctx: typer.Context, **values: Any) -> int:
        return call({"ctx": ctx, **values})

    parameters = [inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    taken: set[str] = set()
    for config in configs:
        for schema in fields_of(config).values():
            if schema.name not in taken:
                taken.add(schema.name)
                parameters.append(_parameter(schema.name, schema.annotation, schema.default, schema.help))
    command.__doc__ = help_text
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _parameter(name: str, annotation: Any, default: Any, text: str) -> inspect.Parameter:
    option = "--" + name.replace("_", "-")
    base = strip_optional(annotation)
    words = (f"{option}/--no-{option[2:]}",) if base is bool and default is True else (option,)
    given: Any = None if default is MISSING else default
    if typing.get_origin(base) is list:
        annotation, given = list[str], [str(item) for item in (given or ())]
    elif base not in (bool, int, float, str, Path):
        annotation, given = str | None, None
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=given,
        annotation=Annotated[annotation, typer.Option(*words, help=text)],
    )


def launcher_config(name: str, values: Mapping[str, Any]) -> LauncherConfig:
    """The configuration of a launcher from option values; fields of other names are left out.

    Raises:
        UnknownNameError: There is no such launcher.
    """
    if name not in choice_names(LauncherConfig):
        raise UnknownNameError("launcher", name, choice_names(LauncherConfig))
    klass = LauncherConfig.get_choice_class(name)
    return klass(**{key: values[key] for key in fields_of(klass) if key in values})


def launcher_from_text(text: str) -> LauncherConfig:
    """A launcher written as one word: ``slurm``, or with settings, ``slurm:partition=gpu,signal_seconds=60``.

    Raises:
        UnknownNameError: No such launcher or setting.
    """
    name, _, settings = text.partition(":")
    if name not in choice_names(LauncherConfig):
        raise UnknownNameError("launcher", name, choice_names(LauncherConfig), "--launcher")
    schemas = fields_of(LauncherConfig.get_choice_class(name))
    values: dict[str, Any] = {}
    for part in (p for p in settings.split(",") if p.strip()):
        key, equals, value = part.strip().partition("=")
        if key not in schemas:
            raise UnknownNameError(f"setting of the launcher {name}", key, schemas, "--launcher")
        if not equals:
            raise UsageError(f"--launcher {text!r}: {key} has no value", f"write {name}:{key}=VALUE")
        values[key] = from_text(value, schemas[key].annotation, key)
    return launcher_config(name, values)


def request_from(
    options: LaunchOptions, launcher: LauncherConfig, tasks: Sequence[Task], parent: Path, details: Mapping[str, Any]
) -> LaunchRequest:
    """What the options ask for.

    Raises:
        UsageError: Options contradict each other or make no sense.
    """
    if options.cpu and options.gpus:
        raise UsageError(f"--cpu and --gpus {options.gpus} contradict each other", "leave one out")
    for name in ("n_agents", "cpus_per_task", "max_gpus"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise UsageError(f"--{name.replace('_', '-')} {value} is not positive")
    minutes = minutes_of(options.time) if options.time else None
    return LaunchRequest(
        launcher=launcher, tasks=tasks, parent=parent, name=options.job_suffix, n_agents=options.n_agents,
        gpus=0 if options.cpu else options.gpus, resources=Resources(0, options.cpus_per_task, options.mem, minutes),
        max_gpus=options.max_gpus, force=options.force, snapshot=options.snapshot, pass_env=tuple(options.pass_env), details=details,
        environment={"INTERP_HOME": str(parent.parent)} if options.out else {},
    )  # fmt: skip


def options_from(values: Mapping[str, Any]) -> LaunchOptions:
    """The launch options among the values of a command."""
    return LaunchOptions(**{f.name: values[f.name] for f in dataclasses.fields(LaunchOptions) if f.name in values})
