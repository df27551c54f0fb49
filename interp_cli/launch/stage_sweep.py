"""The ``--sweep`` option of every stage: its command line becomes the command of a sweep."""

from collections.abc import Sequence
from typing import Any

from interp_cli import arguments
from interp_cli.launch.options import LaunchOptions
from interp_cli.launch.sweep_file import Sweep, read_sweep
from interp_cli.launch.sweep_run import SweepRequest, find_sweep
from interp_cli.launch.sweep_show import carry_out
from interp_cli.options import StageOptions
from interp_cli.paths import configs_dir
from interp_registry.config_io import Override, fields_of
from interp_registry.contracts.method import Method, Stage

__all__ = ["run_stage_sweep", "sweep_command"]

_OF_THE_SWEEP = frozenset(
    {
        "sweep",
        "n_agents",
        "launcher",
        "report",
        "json",
        "dry_run",
        "progress",
        "quiet",
        "job_suffix",
        "resume",
        "batched",
    }
)
_EXPERIMENT_FIELDS = ("experiments", "experiment")


def run_stage_sweep(method: Method, stage: Stage[Any], options: StageOptions, words: Sequence[str]) -> int:
    """Start the sweep that a stage's options ask for, wait for it where it runs here, and show what came out."""
    name = method.name if len(method.stages) == 1 else f"{method.name}-{stage.name}"
    file = find_sweep(name if options.sweep in (None, "default") else str(options.sweep), configs_dir())
    command, experiments = sweep_command(method, stage, words, read_sweep(file))
    launch = LaunchOptions(
        n_agents=options.n_agents,
        cpu=options.device == "cpu",
        job_suffix=options.job_suffix,
        out=options.out,
        dry_run=options.dry_run,
        json=options.json,
    )
    request = SweepRequest(file, command, launch, options.launcher, experiments, options.batched)
    here = options.launcher.partition(":")[0] == "local"
    return carry_out(request, wait=here, report=options.report)


def sweep_command(method: Method, stage: Stage[Any], words: Sequence[str], sweep: Sweep) -> tuple[list[str], list[str]]:
    """The command of each point, and the experiments.

    A stage whose first argument is its experiments gets one per point: those on its command line, else those of the file.
    """
    parsed = arguments.parse(words, stage)
    start = [method.name] if len(method.stages) == 1 else [method.name, stage.name]
    given = [
        *_words(parsed.settings),
        *_words([o for o in parsed.common if o.path not in _OF_THE_SWEEP]),
        "--no-report",
    ]
    positional = next((s.name for s in fields_of(stage.config_type).values() if s.positional), "")
    if positional not in _EXPERIMENT_FIELDS:
        return [*start, *parsed.positionals, *given], []
    asked = [part for word in parsed.positionals for part in word.split(",") if part and part != "all"]
    if not asked and not sweep.experiments:
        return [*start, *parsed.positionals, *given], []
    return [*start, "{experiment}", *given], asked


def _words(overrides: Sequence[Override]) -> list[str]:
    return [f"--{o.path}" if o.text is None else f"--{o.path}={o.text}" for o in overrides]
