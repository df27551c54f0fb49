"""Carry out a stage: open its run, build the context, run it, store and show what came out."""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from interp_cli import console
from interp_cli.context import Context, Processes, best_device
from interp_cli.culprits import culprit
from interp_cli.interpreter import imports_are_done
from interp_cli.launch.run_file import tell_launch
from interp_cli.options import StageOptions
from interp_cli.quiet import Silence
from interp_cli.signals import Interruption, StopFlag, stop_on_signals
from interp_cli.system_sampler import sampled
from interp_cli.tracking import track_result
from interp_registry.config_io import Resolved, encode
from interp_registry.contracts.method import Cost, Method, Result, RunContext, Stage
from interp_registry.discovery import discover
from interp_registry.errors import InterruptedRunError, PluginError, ResourceError, UnknownNameError, UsageError
from interp_registry.events import EventSink, FanOut, JsonlSink, NullSink
from interp_registry.stores.artifact import resource_error
from interp_registry.stores.home import Layout, layout
from interp_registry.stores.run import Run, RunState, RunStore

__all__ = [
    "Outcome",
    "command_name",
    "execute",
    "execute_together",
    "find_stage",
    "resume",
    "run_child",
    "show_cost",
    "stored_configuration",
]


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        run: Its folder.
        result: What it found.
    """

    run: Run
    result: Result

    @property
    def exit_code(self) -> int:
        """0, or 3 when items of the work failed."""
        return 3 if self.result.failures else 0


def command_name(method: Method, stage: Stage[Any]) -> str:
    """The words that name a stage: "align", or "lens train" for a method with several stages."""
    return method.name if len(method.stages) == 1 else f"{method.name} {stage.name}"


def find_stage(name: str) -> tuple[Method, Stage[Any]]:
    """The stage that :func:`command_name` names.

    Raises:
        UnknownNameError: There is none; similar names are suggested.
    """
    stages = {command_name(m, s): (m, s) for m in discover().methods.values() for s in m.stages}
    stages |= {m.name: (m, m.default_stage) for m in discover().methods.values() if m.default_stage is not None}
    if name not in stages:
        raise UnknownNameError("stage", name, stages)
    return stages[name]


def execute(
    method: Method, stage: Stage[Any], resolved: Resolved[Any], options: StageOptions, argv: Sequence[str]
) -> Outcome:
    """Run a stage from the command line and show what came out.

    Raises:
        InterpError: The stage failed; the run's folder says so too.
    """
    name = command_name(method, stage)
    folders = layout(options.out)
    processes = Processes.from_environment()
    run = None
    with stop_on_signals() as flag:
        try:
            run = _open_run(name, resolved, options, folders, ["interp", *name.split(), *argv])
            if processes.is_main:
                tell_launch(run.path)
            with _view(options, processes) as view:
                outcome = _run(stage, resolved.config, run, _Shell(options, folders, view, flag, processes))
        except BaseException as err:
            if isinstance(err, InterruptedRunError) or (flag.signum is None and not isinstance(err, KeyboardInterrupt)):
                raise
            run = run or _known_run(options, folders)  # just before or after the run's own work
            raise InterruptedRunError(flag.signum or signal.SIGINT, run and _resume_hint(run, options)) from err
    if processes.is_main:
        _show(outcome, options)
    return outcome


def execute_together(
    method: Method,
    stage: Stage[Any],
    resolved: Sequence[tuple[Resolved[Any], StageOptions]],
    lines: Sequence[Sequence[str]],
) -> list[Outcome]:
    """Run several points of a sweep side by side in this process, each in a run of its own, and show what came out.

    Args:
        method: The method that the stage belongs to.
        stage: A stage that can carry out several at once.
        resolved: Configuration and options of each point.
        lines: The command line that would run each point by itself.

    Raises:
        InterpError: The stage failed; the folders of all runs say so too.
        UsageError: The stage cannot do that.
    """
    run_batch, name = stage.load_run_batch(), command_name(method, stage)
    imports_are_done()
    if run_batch is None:
        raise UsageError(f"`interp {name}` cannot run several points in one process", "leave --batched out")
    options, silence = resolved[0][1], Silence()
    folders = layout(options.out)
    with stop_on_signals() as flag, _view(options, Processes()) as view, ExitStack() as opened:
        runs = [
            _create(RunStore(folders.runs), name, one, own, ["interp", *name.split(), *line])
            for (one, own), line in zip(resolved, lines, strict=True)
        ]
        tell_launch(*(run.path for run in runs))
        shells = [
            _Shell(own, folders, view if i == 0 else NullSink(), flag, Processes(), silence)
            for i, (_, own) in enumerate(resolved)
        ]
        contexts = [opened.enter_context(_opened(run, shell)) for run, shell in zip(runs, shells, strict=True)]
        with sampled(contexts[0].events, silence):
            results = run_batch([one.config for one, _ in resolved], [cast("RunContext", c) for c in contexts])
        for context, result, shell in zip(contexts, results, shells, strict=True):
            _finish(context, result, shell)
    outcomes = [Outcome(run, result) for run, result in zip(runs, results, strict=True)]
    _show_together(outcomes, options)
    return outcomes


def _open_run(name: str, resolved: Resolved[Any], options: StageOptions, folders: Layout, argv: list[str]) -> Run:
    """A new run, the one to resume, or the one that the main process of several opened."""
    processes = Processes.from_environment()
    store = RunStore(folders.runs)
    if processes.world > 1:
        from accelerate import PartialState

        PartialState(cpu=best_device(options.device) == "cpu")
    return _in_all(
        processes,
        lambda: store.get(options.resume) if options.resume else _create(store, name, resolved, options, argv),
    )


def _in_all(processes: Processes, open_run: Callable[[], Run]) -> Run:
    """The run that the main process opens, in every process."""
    if processes.world == 1:
        return open_run()
    from accelerate.utils import broadcast_object_list

    path = [str(open_run().path) if processes.is_main else ""]
    return Run(Path(broadcast_object_list(path)[0]))


def _known_run(options: StageOptions, folders: Layout) -> Run | None:
    """The run that a signal found while it was being opened; None when its folder was not made yet."""
    store = RunStore(folders.runs)
    return store.get(options.resume) if options.resume else store.latest_here()


def _create(store: RunStore, name: str, resolved: Resolved[Any], options: StageOptions, argv: list[str]) -> Run:
    data = encode(resolved.config)
    return store.create(name, data, resolved.origins, argv, details={"options": encode(options)})


@dataclass(frozen=True)
class _Shell:
    """What all runs of one command share."""

    options: StageOptions
    layout: Layout
    view: EventSink
    flag: StopFlag
    processes: Processes
    silence: Silence = field(default_factory=Silence)


@contextmanager
def _view(options: StageOptions, processes: Processes) -> Iterator[EventSink]:
    """Where a person sees events while they happen."""
    if not processes.is_main or options.quiet or options.progress == "none":
        yield NullSink()
        return
    from interp_cli.dashboard import live_view

    with live_view(options.progress, options.json) as sink:
        yield sink


def _run(stage: Stage[Any], config: Any, run: Run, shell: _Shell) -> Outcome:
    with _opened(run, shell) as context:
        with sampled(context.events, shell.silence):
            carry_out = stage.load_run()
            imports_are_done()
            result = carry_out(config, cast("RunContext", context))
        _finish(context, result, shell)
    return Outcome(run, result)


@contextmanager
def _opened(run: Run, shell: _Shell) -> Iterator[Context]:
    """Start a run and give its context; in the end the run is sealed, or says what went wrong."""
    main = shell.processes.is_main
    sink = FanOut([JsonlSink(run.events), shell.view, shell.silence]) if main else NullSink()
    context = Context(run, shell.options, shell.layout, sink, shell.flag, run_child(shell))
    try:
        if main:
            run.start()
        sink.state("running", info={"command": run.command})
        yield context
        sink.state("done")
    except BaseException as err:
        shown = _as_error(err, run, shell)
        _record_failure(run, sink, shown, main)
        raise shown from err
    finally:
        context.close(in_haste=shell.flag.signum is not None)
        _close(sink, shell)
    if main:
        try:
            _write_report(run, shell.options)
        finally:
            run.seal()


def _finish(context: Context, result: Result, shell: _Shell) -> None:
    """Keep what the stage found; after a signal that may be a part only, so the run was interrupted whatever it found."""
    if shell.flag.signum is not None:
        raise InterruptedRunError(shell.flag.signum)
    if not isinstance(result, Result):  # pyright: ignore[reportUnnecessaryIsInstance] - a plugin's stage may forget
        what = f"the stage of `interp {context.run.command}` returned {type(result).__name__}"
        raise PluginError(f"{what}; expected a Result", "return interp_registry.Result(...) from its run function")
    track_result(context, result)
    if shell.processes.is_main:
        context.run.finish(result.to_json())


def _close(sink: EventSink, shell: _Shell) -> None:
    if isinstance(sink, FanOut):
        for inner in sink.sinks:
            if inner is not shell.view:
                with suppress(OSError):  # a full disk: what is lost is the last event
                    inner.close()


def _record_failure(run: Run, sink: EventSink, err: BaseException, main: bool) -> None:
    stopped = isinstance(err, KeyboardInterrupt | InterruptedRunError)
    message = str(err) or type(err).__name__
    with suppress(OSError, ResourceError):  # a full disk may be the failure
        sink.state("interrupted" if stopped else "failed", message)
    if main:
        with suppress(ResourceError):
            (run.interrupt if stopped else run.fail)(message)


def _as_error(err: BaseException, run: Run, shell: _Shell) -> BaseException:
    """What to say: a full disk, however it was worded; an interruption when a signal came, whatever the code made of it."""
    signum = err.signum if isinstance(err, InterruptedRunError) else shell.flag.signum
    if signum is None and isinstance(err, SystemExit):
        who = culprit(err) or "a library"
        return PluginError(f"{run.command} was left by sys.exit({err.code!r})", f"{who} must not do that")
    if signum is None:
        return resource_error(err) or err
    return InterruptedRunError(shell.flag.signum or signum, _resume_hint(run, shell.options))


def _resume_hint(run: Run, options: StageOptions) -> str:
    where = f" --out {options.out}" if options.out else ""
    if run.state is RunState.DONE:
        return f"the run is done; its report is written by: interp report {run.id}{where}"
    return f"go on with: interp runs resume {run.id}{where}"


def run_child(shell: _Shell) -> Any:
    """The function by which a stage runs another one as a child of its own run.

    A child that a signal ends raises KeyboardInterrupt in its parent: a stage that notes the failures of items and goes on with
    the next one must not take it for one.
    """

    def start(parent: Context, name: str, config: Any) -> Run:
        _, stage = find_stage(name)
        details = {"parent": parent.run.id, "options": encode(shell.options)}
        store = RunStore(shell.layout.runs)
        run = _in_all(shell.processes, lambda: store.create(name, encode(config), None, (), details))
        try:
            outcome = _run(stage, config, run, shell)
        except InterruptedRunError as err:
            raise Interruption(err.signum) from err
        if shell.processes.world > 1:  # what the main process wrote is read by all
            from accelerate import PartialState

            PartialState().wait_for_everyone()
        for failure in outcome.result.failures:
            parent.events.message(f"{failure.item}: {failure.message}", "error")
        return outcome.run

    return start


def _write_report(run: Run, options: StageOptions) -> None:
    if not options.report:
        return
    from interp_cli.report import write_run_report

    try:
        write_run_report(run)
    except ResourceError as err:
        raise ResourceError(
            f"run {run.id} is done, but it has no report: {err.message}", f"make space, then: interp report {run.id}"
        ) from err


def _show(outcome: Outcome, options: StageOptions) -> None:
    result, run = outcome.result, outcome.run
    report = run.path / "report" / "index.html"
    for failure in result.failures:
        console.err().print(f"[bold red]failed[/] {console.plain(failure.item)}: {console.plain(failure.message)}")
    if options.json:
        head = {"run": run.id, "folder": str(run.path), "command": run.command, "state": run.state.value}
        page = {"report": str(report)} if report.is_file() else {}
        console.print_json({**head, **page, **result.to_json()})
        return
    from interp_cli.report import show_result

    show_result(result)
    if not options.quiet:
        console.print_paths([*result.artifacts, *([report] if report.is_file() else []), run.path])


def _show_together(outcomes: Sequence[Outcome], options: StageOptions) -> None:
    if options.json:
        console.print_json(
            {"runs": [{"run": o.run.id, "folder": str(o.run.path), **o.result.to_json()} for o in outcomes]}
        )
        return
    names = list(dict.fromkeys(name for outcome in outcomes for name in outcome.result.scalars))
    rows = [(o.run.id, *(str(o.result.scalars.get(name, "")) for name in names)) for o in outcomes]
    console.print_table(("run", *names), rows)
    if not options.quiet:
        console.print_paths([outcome.run.path for outcome in outcomes])


def stored_configuration(run: Run, stage: Stage[Any], trust: bool = False) -> Resolved[Any]:
    """The configuration that a run was given.

    Raises:
        ConfigError: It asks for what only a command line may say, and ``trust`` is not set.
    """
    from interp_registry.config_io import resolve

    return resolve(stage.config_type, [(str(run.path / "config.yaml"), run.config)], trusted=trust)


def resume(run: Run, options: StageOptions, trust: bool = False) -> Outcome:
    """Go on with a run that was interrupted or failed, in its own folder, with its own configuration."""
    method, stage = find_stage(run.command)
    resolved = stored_configuration(run, stage, trust)
    options.resume = str(run.path)
    return execute(method, stage, resolved, options, run.record["argv"][1 + len(run.command.split()) :])


def show_cost(method: Method, stage: Stage[Any], resolved: Resolved[Any], options: StageOptions) -> int:
    """Say what a run would do and need, without doing it (``--dry-run``)."""
    estimate = stage.load_estimate()
    folders = layout(options.out)
    cost = Cost(notes=("this stage does not estimate its cost",))
    if estimate is not None:
        with stop_on_signals() as flag:
            shell = _Shell(options, folders, NullSink(), flag, Processes())
            context = Context(None, options, folders, NullSink(), flag, run_child(shell))  # pyright: ignore[reportArgumentType]
            cost = estimate(resolved.config, cast("RunContext", context))
    if options.json:
        facts = {k: v for k, v in vars(cost).items() if v is not None}
        console.print_json({"command": command_name(method, stage), "config": resolved.data, "cost": facts})
        return 0
    from interp_registry.config_io import dump_yaml

    console.out().print(f"would run `interp {command_name(method, stage)}` with", markup=False)
    console.out().print(dump_yaml(encode(resolved.config)), markup=False)
    console.print_table(("expected", ""), _cost_rows(cost, folders))
    return 0


def _cost_rows(cost: Cost, folders: Layout) -> list[tuple[str, str]]:
    sizes = (("disk", cost.disk_bytes), ("memory", cost.memory_bytes), ("download", cost.download_bytes))
    rows = [("time", "unknown" if cost.seconds is None else console.duration(cost.seconds))]
    rows += [(name, "unknown" if value is None else console.size(value)) for name, value in sizes]
    rows += [("note", note) for note in cost.notes]
    return [*rows, ("written to", str(folders.root))]
