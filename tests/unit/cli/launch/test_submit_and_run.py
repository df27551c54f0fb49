"""Launches on this machine, with a small program in place of ``interp``: results, failures, signals, retry, cancel."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from interp_cli.launch import run_task
from interp_cli.launch.folder import LaunchFolder, Task
from interp_cli.launch.leases import newest_lease
from interp_cli.launch.status import cancel, counts, log_of, retry, task_states
from interp_cli.launch.submit import LaunchRequest, capped_agents, plan, submit
from interp_plugins.launchers.config import LocalLauncherConfig, PrintLauncherConfig
from interp_registry.contracts.launcher import Launch, Resources
from interp_registry.discovery import discover
from interp_registry.errors import UsageError
from interp_registry.process_identity import ProcessId

PROGRAM = """\
import json, os, sys, time
from pathlib import Path
out, word = Path(sys.argv[1]), sys.argv[2]
if word == "fail" and not (out / "mended").exists():
    print("working"); sys.exit("error it went wrong\\n  try again")
if word == "sleep" and not (out / "mended").exists():
    (out / "asleep").touch(); time.sleep(60)
(out / f"{os.environ['INTERP_TASK']}.json").write_text(json.dumps({"argv": sys.argv[2:], "env": dict(os.environ)}))
Path(os.environ["INTERP_RUN_FILE"]).write_text("/runs/" + word + "\\n")
"""


@pytest.fixture
def request_for(tmp_path: Path) -> Callable[..., LaunchRequest]:
    discover()
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    out = tmp_path / "out"
    out.mkdir()

    def make(words: list[str], launcher: Any = None, **changes: Any) -> LaunchRequest:
        tasks = [Task(i, (str(out), word), word) for i, word in enumerate(words)]
        settings = {"snapshot": False, "gpus": 0, "n_agents": 2, **changes}
        return LaunchRequest(
            launcher or LocalLauncherConfig(),
            tasks,
            tmp_path / "launches",
            program=(sys.executable, str(program)),
            **settings,
        )

    make.out = out
    return make


def _wait(what: Callable[[], Any], seconds: float = 30.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


def _run(folder: LaunchFolder, task: int) -> int:
    command = [sys.executable, "-m", "interp_cli.launch.run_task", str(folder.path), str(task)]
    return subprocess.run(command, capture_output=True, timeout=60).returncode


def test_a_launch_runs_its_tasks_with_their_arguments_and_filtered_variables(
    request_for, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "canary-123456789")
    monkeypatch.setenv("WANDB_API_KEY", "canary-abcdefghi")
    monkeypatch.setenv("UNRELATED", "1")
    words = ["a b", "'$(touch x)`;|&\"", "é\n{item}"]
    done = submit(request_for(words, pass_env=["WANDB_API_KEY"]))
    _wait(lambda: len(done.folder.ended_numbers()) == 3)
    for i, word in enumerate(words):
        said = json.loads((request_for.out / f"{i}.json").read_text())
        assert said["argv"] == [word]
        assert "HF_TOKEN" not in said["env"]
        assert "UNRELATED" not in said["env"]
        assert said["env"]["WANDB_API_KEY"] == "canary-abcdefghi"
        assert done.folder.ended(i).run == "/runs/" + word.strip()
    _wait(lambda: counts(task_states(done.folder)) == {"done": 3})
    text = b"".join(path.read_bytes() for path in done.folder.path.rglob("*") if path.is_file())
    assert b"canary-" not in text


def test_a_failed_task_shows_its_code_and_last_words_and_retry_repeats_only_it(request_for) -> None:
    done = submit(request_for(["fine", "fail"]))
    _wait(lambda: len(done.folder.ended_numbers()) == 2)
    ended = done.folder.ended(1)
    assert (ended.state, ended.code, ended.error) == ("failed", 1, "it went wrong")
    assert "working" in log_of(done.folder, 1).read_text()
    (request_for.out / "mended").touch()
    assert retry(done.folder) == [1]
    _wait(lambda: done.folder.ended(1))
    assert counts(task_states(done.folder)) == {"done": 2}
    assert retry(done.folder) == []


def test_a_cancelled_launch_ends_its_processes(request_for) -> None:
    done = submit(request_for(["sleep", "later"], n_agents=1))
    _wait((request_for.out / "asleep").exists)
    owner = newest_lease(done.folder.leases, 0).owner
    assert cancel(done.folder) == [0, 1]
    _wait(owner.known_dead)
    assert counts(task_states(done.folder)) == {"cancelled": 2}
    assert not (request_for.out / "1.json").exists()


def test_cancelling_ends_the_owner_of_a_launch_first(request_for) -> None:
    done = submit(request_for(["x"], PrintLauncherConfig()))
    owner = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    done.folder.own(ProcessId.of(owner.pid))
    assert cancel(done.folder, []) == []
    assert done.folder.owner_alive()
    assert cancel(done.folder) == [0]
    assert owner.wait(20) == -signal.SIGTERM
    assert not done.folder.owner_alive()
    owner.communicate()


def test_one_running_task_can_be_cancelled_while_the_others_go_on(request_for) -> None:
    done = submit(request_for(["sleep", "other"], n_agents=1))
    _wait((request_for.out / "asleep").exists)
    assert cancel(done.folder, [0]) == [0]
    _wait(lambda: done.folder.ended(1))
    assert counts(task_states(done.folder)) == {"cancelled": 1, "done": 1}


def test_the_print_launcher_leaves_commands_that_run_the_tasks(request_for) -> None:
    done = submit(request_for(["x", "y"], PrintLauncherConfig()))
    assert done.jobs == ()
    assert counts(task_states(done.folder)) == {"waiting": 2}
    subprocess.run(["bash", str(done.folder.script)], check=True, timeout=60)
    assert counts(task_states(done.folder)) == {"done": 2}
    with pytest.raises(UsageError, match="starts nothing"):
        retry(done.folder)


def test_a_task_that_is_done_or_held_is_left_alone(request_for) -> None:
    done = submit(request_for(["x"], PrintLauncherConfig()))
    assert _run(done.folder, 0) == 0
    assert _run(done.folder, 0) == 0
    assert done.folder.ended(0).generation == 1


def test_a_terminated_task_is_given_back_with_exit_code_143(request_for) -> None:
    done = submit(request_for(["sleep"], PrintLauncherConfig()))
    process = subprocess.Popen([sys.executable, "-m", "interp_cli.launch.run_task", str(done.folder.path), "0"])
    _wait((request_for.out / "asleep").exists)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    lease = newest_lease(done.folder.leases, 0)
    assert lease.released == "signal SIGTERM"
    assert done.folder.ended(0) is None
    (request_for.out / "mended").touch()
    assert _run(done.folder, 0) == 0
    assert done.folder.ended(0).generation == 2


def test_at_the_time_limit_the_queue_is_asked_to_start_the_task_again(request_for, tmp_path: Path) -> None:
    # as SLURM does with the command when it ends the job
    killed = [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"]
    cases = [(["true"], 85, None), (["false"], 1, "failed"), (killed, 85, None)]
    done = submit(request_for(["sleep"] * len(cases), PrintLauncherConfig()))
    for task, (words, code, state) in enumerate(cases):
        (request_for.out / "asleep").unlink(missing_ok=True)
        done.folder.update(
            launcher={"name": "print", "config": {"type": "print"}, "requeue_command": [*words, "${INTERP_JOB_ID}"]}
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "interp_cli.launch.run_task", str(done.folder.path), str(task)],
            env={**os.environ, "INTERP_JOB_ID": "7_0"},
        )
        _wait((request_for.out / "asleep").exists)
        process.send_signal(signal.SIGUSR2)
        assert process.wait(30) == code
        ended = done.folder.ended(task)
        assert (ended.state if ended else None) == state
    assert "`false 7_0` failed" in done.folder.ended(1).error


def test_the_cap_of_gpus_lowers_the_number_of_agents_or_refuses(request_for, monkeypatch: pytest.MonkeyPatch) -> None:
    launch, _, notes = plan(request_for(["a"] * 20, PrintLauncherConfig(), gpus=2, n_agents=None))
    assert launch.n_agents == 4
    assert "at most 8 GPUs" in notes[0]
    with pytest.raises(UsageError, match="asks for 9 GPUs, the cap is 8"):
        plan(request_for(["a"], PrintLauncherConfig(), gpus=9))
    monkeypatch.setattr("interp_cli.launch.submit.gpus_in_use", lambda: 5)
    wide = Launch("L", Path(), "", 9, 8, Resources(gpus=1), (), ())
    assert capped_agents(wide, 8, force=False)[0] == 3
    assert capped_agents(wide, 8, force=True) == (8, "")
    monkeypatch.setattr("interp_cli.launch.submit.gpus_in_use", lambda: 8)
    with pytest.raises(UsageError, match="8 of at most 8 GPUs are in use"):
        capped_agents(wide, 8, force=False)


def test_a_launcher_that_refuses_leaves_no_folder(request_for, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from interp_registry.errors import InterpError

    def refuse(*_: Any) -> None:
        raise InterpError("no")

    monkeypatch.setattr("interp_plugins.launchers.local.Local.start", refuse)
    with pytest.raises(InterpError, match="no"):
        submit(request_for(["a"]))
    assert [path.name for path in (tmp_path / "launches").iterdir()] == [".lock"]


def test_the_task_runner_loads_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "yaml", "typer", "draccus", "rich")
    code = f"import sys, {run_task.__name__}; sys.exit(any(name in sys.modules for name in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
