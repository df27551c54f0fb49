"""Several runs in one process: each has its own folder, configuration, seed and end."""

import json
from dataclasses import dataclass

import pytest

from interp_cli.execution import execute_together
from interp_cli.options import StageOptions
from interp_registry.config_io import resolve
from interp_registry.contracts.method import Failure, Method, Result, Stage
from interp_registry.errors import InterpError, PluginError, UsageError
from interp_registry.stores.home import layout
from interp_registry.stores.run import RunStore


@dataclass
class Place:
    """Where to look."""

    x: float = 0.0
    """place"""


def both(configs, contexts):
    for config, ctx in zip(configs, contexts, strict=True):
        ctx.events.scalar("x", config.x, ctx.seed)
    if configs[0].x < 0:
        raise InterpError("too low")
    failures = [[Failure("item", "Error", "no")] if config.x > 5 else [] for config in configs]
    return [
        Result(scalars={"y": config.x + ctx.seed}, failures=failed)
        for config, ctx, failed in zip(configs, contexts, failures, strict=True)
    ]


def carry_out(tmp_path, places, run_batch=both):
    stage = Stage("look", "Look.", Place, lambda config, ctx: Result(), run_batch=run_batch)
    resolved = [
        (
            resolve(Place, [("test", {"x": x})]),
            StageOptions(out=tmp_path, seed=seed, device="cpu", report=False, quiet=True),
        )
        for seed, x in enumerate(places)
    ]
    return execute_together(Method("look", "Look.", (stage,)), stage, resolved, [[f"--x={x}"] for x in places])


def runs_in(tmp_path):
    return sorted(RunStore(layout(tmp_path).runs).runs(), key=lambda run: run.id)


def test_every_run_has_its_own_result_events_and_command_line(tmp_path):
    outcomes = carry_out(tmp_path, [1.0, 6.0])
    assert [outcome.exit_code for outcome in outcomes] == [0, 3]
    for seed, (outcome, x) in enumerate(zip(outcomes, [1.0, 6.0], strict=True)):
        assert outcome.run.state.value == "done"
        assert outcome.run.config == {"x": x}
        assert outcome.run.record["argv"] == ["interp", "look", f"--x={x}"]
        assert outcome.run.record["details"]["options"]["seed"] == seed
        assert json.loads((outcome.run.path / "result.json").read_text())["scalars"] == {"y": x + seed}
        events = [json.loads(line) for line in outcome.run.events.read_text().splitlines()]
        assert [(e["value"], e.get("step", 0)) for e in events if e.get("name") == "x"] == [(x, seed)]


def test_a_failure_is_in_the_folders_of_all(tmp_path):
    with pytest.raises(InterpError, match="too low"):
        carry_out(tmp_path, [-1.0, 1.0])
    assert [run.state.value for run in runs_in(tmp_path)] == ["failed", "failed"]


def test_a_stage_that_cannot_do_it_makes_no_run(tmp_path):
    with pytest.raises(UsageError, match="cannot run several points"):
        carry_out(tmp_path, [1.0], run_batch=None)
    assert runs_in(tmp_path) == []


def test_a_stage_that_returns_no_result_is_named(tmp_path):
    with pytest.raises(PluginError, match="`interp look` returned NoneType; expected a Result"):
        carry_out(tmp_path, [1.0, 2.0], run_batch=lambda configs, contexts: [None, None])
    assert [run.state.value for run in runs_in(tmp_path)] == ["failed", "failed"]
