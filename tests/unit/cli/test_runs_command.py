"""``interp runs``, in process, with a stage that stops once."""

import json
import os
import signal
from dataclasses import dataclass

import pytest

from interp_cli import execution
from interp_cli.__main__ import run
from interp_registry.contracts.method import Method, Result, Stage
from interp_registry.errors import InterruptedRunError
from interp_registry.stores.home import layout
from interp_registry.stores.run import Run, RunState, RunStore


@dataclass
class Config:
    steps: int = 3
    """how many"""


def count(config: Config, ctx) -> Result:
    """Stop after the first call in a run's folder, finish in the second."""
    mark = ctx.run.artifact("mark.txt")
    if not mark.exists():
        mark.write_text("stopped")
        raise InterruptedRunError(15)
    return Result(scalars={"steps": config.steps, "seed": ctx.seed}, data={"device": ctx.device})


METHOD = Method("count", "count", (Stage("count", "count", Config, count),))


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run that was interrupted."""
    monkeypatch.setattr(execution, "find_stage", lambda name: (METHOD, METHOD.stages[0]))
    from interp_cli.stage_run import resolve_stage

    words = ["--steps", "5", "--seed", "7", "--device", "cuda:7", "--no-report"]
    resolved, options = resolve_stage(METHOD.stages[0], words)
    with pytest.raises(InterruptedRunError, match="interp runs resume"):
        execution.execute(METHOD, METHOD.stages[0], resolved, options, words)
    return RunStore(layout().runs).get("last")


def as_json(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_a_command_line_is_shown_as_a_shell_reads_it(capsys):
    RunStore(layout().runs).create("count", {}, argv=["interp", "count", "my model", "a*"])
    assert run(["runs", "list"]) == 0
    assert "count 'my model' 'a*'" in capsys.readouterr().out
    assert run(["runs", "show"]) == 0
    assert "interp count 'my model' 'a*'" in capsys.readouterr().out


def test_runs_are_listed_by_command_and_state(stopped, capsys):
    assert run(["runs", "list"]) == 0
    assert stopped.id in capsys.readouterr().out
    assert run(["runs", "list", "--state", "interrupted", "--command", "count", "--json"]) == 0
    assert [row["run"] for row in as_json(capsys)["runs"]] == [stopped.id]
    assert run(["runs", "list", "--state", "done", "--json"]) == 0
    assert as_json(capsys)["runs"] == []


def test_a_listed_run_says_what_was_typed_and_a_part_of_it_whose(stopped, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    RunStore(layout().runs).create("extract", {}, details={"parent": stopped.id})
    assert run(["runs", "list"]) == 0
    shown = capsys.readouterr().out
    assert f"{stopped.id}  interrupted  count --steps 5 --seed 7 --device cuda:7 --no-report" in shown
    assert f"extract (part of {stopped.id})" in shown


def test_a_run_is_resumed_in_its_folder_with_its_settings(stopped, capsys):
    assert run(["runs", "resume", stopped.id, "--json"]) == 0
    shown = as_json(capsys)
    assert shown["run"] == stopped.id
    assert shown["scalars"] == {"steps": 5, "seed": 7}
    assert shown["device"] == "cuda:7"
    assert stopped.state is RunState.DONE
    assert stopped.problems() == []
    assert run(["runs", "resume", "last"]) == 2
    assert "interp runs rerun" in capsys.readouterr().err


def test_a_run_goes_on_where_its_device_is_absent(stopped, capsys):
    assert run(["runs", "resume", stopped.id, "--device", "cpu", "--json"]) == 0
    assert as_json(capsys)["device"] == "cpu"
    assert run(["runs", "rerun", stopped.id, "--device", "cpu"]) == 143
    assert run(["runs", "resume", "--json"]) == 0
    assert as_json(capsys)["device"] == "cpu"


def test_a_run_is_repeated_as_a_new_run(stopped, capsys):
    assert run(["runs", "rerun", stopped.id, "--seed", "8"]) == 143
    runs = list(RunStore(layout().runs).runs())
    assert len(runs) == 2
    assert runs[1].config == stopped.config
    assert run(["runs", "resume", "--json"]) == 0
    assert as_json(capsys)["scalars"] == {"steps": 5, "seed": 8}


def test_a_run_is_shown_for_people_and_machines(stopped, capsys):
    assert run(["runs", "show"]) == 0
    shown = capsys.readouterr().out
    for part in (stopped.id, "interrupted", "steps: 5", "--steps", "mark.txt"):
        assert part in shown
    assert run(["runs", "show", stopped.id[:12], "--json"]) == 0
    assert as_json(capsys)["config"] == {"steps": 5}


def test_removed_runs_are_gone(stopped, capsys):
    assert run(["runs", "rm", stopped.id]) == 0
    assert not stopped.path.exists()
    assert run(["runs", "rm", stopped.id]) == 2
    assert "unknown run" in capsys.readouterr().err


def test_a_name_that_means_no_run_is_answered_with_the_latest_ones(stopped, capsys):
    later = [RunStore(stopped.path.parent).create("x", {}).id for _ in range(13)]
    assert run(["runs", "show", "nonsense"]) == 2
    assert f"the latest: {later[-1]}, {later[-2]}, " in " ".join(capsys.readouterr().err.split())


def test_a_running_run_is_neither_resumed_nor_removed(stopped, capsys):
    stopped.start()
    assert run(["runs", "resume", stopped.id]) == 2
    assert run(["runs", "rm", stopped.id]) == 2
    assert "is running" in capsys.readouterr().err
    assert run(["runs", "rm", "--force", stopped.id]) == 0


def test_a_stage_that_gives_back_a_part_after_a_signal_was_interrupted(monkeypatch: pytest.MonkeyPatch):
    def part(config: Config, ctx) -> Result:
        for done in range(config.steps):
            if ctx.stopping:
                return Result(scalars={"done": done})
            os.kill(os.getpid(), signal.SIGTERM)
        return Result(scalars={"done": config.steps})

    stage = Stage("count", "count", Config, part)
    monkeypatch.setattr(execution, "find_stage", lambda name: (METHOD, stage))
    from interp_cli.stage_run import resolve_stage

    resolved, options = resolve_stage(stage, ["--no-report"])
    with pytest.raises(InterruptedRunError, match="interp runs resume") as caught:
        execution.execute(METHOD, stage, resolved, options, [])
    assert caught.value.exit_code == 143
    assert RunStore(layout().runs).get("last").state is RunState.INTERRUPTED


@pytest.mark.parametrize("resumed", [False, True])
def test_a_signal_while_a_run_is_opened_tells_how_to_go_on_with_it(monkeypatch: pytest.MonkeyPatch, resumed: bool):
    existing = RunStore(layout().runs).create("count", {"steps": 5})
    opens = "get" if resumed else "create"
    whole = getattr(RunStore, opens)

    def interrupted(*words, **options) -> Run:
        opened = whole(*words, **options)
        monkeypatch.setattr(RunStore, opens, whole)
        os.kill(os.getpid(), signal.SIGTERM)
        return opened

    monkeypatch.setattr(RunStore, opens, interrupted)
    from interp_cli.stage_run import resolve_stage

    resolved, options = resolve_stage(METHOD.stages[0], ["--no-report"])
    options.resume = existing.id if resumed else None
    with pytest.raises(InterruptedRunError, match="interp runs resume") as caught:
        execution.execute(METHOD, METHOD.stages[0], resolved, options, [])
    assert caught.value.exit_code == 143
    runs = [one.id for one in RunStore(layout().runs).runs()]
    assert len(runs) == 2 - resumed
    assert runs[-1] in caught.value.hint
