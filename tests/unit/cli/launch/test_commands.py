"""``interp launch`` and ``interp sweep`` as commands: what they print, and that dry runs are stable."""

import json
import sys
from pathlib import Path

import pytest

from interp_cli.__main__ import run

DRY_RUN = """\
#!/bin/bash
#SBATCH --job-name=interp-night-LAUNCH-ID
#SBATCH --partition=gpu
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=2
#SBATCH --cpus-per-task=4
#SBATCH --mem=32G
#SBATCH --time=2:00:00
#SBATCH --output=HOME/launches/LAUNCH-ID/logs/%A_%a.out
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR2@120
#SBATCH --array=0-5%4

export INTERP_JOB_ID="${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
export INTERP_JOB_RESTART="${SLURM_RESTART_COUNT:-0}"
export INTERP_LOG=HOME/launches/LAUNCH-ID/logs/"${INTERP_JOB_ID}.out"
exec PYTHON -P -m interp_cli.launch.run_task HOME/launches/LAUNCH-ID "$((SLURM_ARRAY_TASK_ID + ${INTERP_TASK_OFFSET:-0}))"

# task 0: interp extract --model a b
# task 1: interp extract --model c
# task 2: interp extract --model d
# task 3: interp extract --model e
# task 4: interp extract --model f
# task 5: interp extract --model g
# 4 tasks at a time: at most 8 GPUs (--max-gpus)
# 6 tasks; nothing was started
"""


def _stable(text: str, home: Path) -> str:
    return text.replace(str(home / "interp"), "HOME").replace(sys.executable, "PYTHON")


def test_a_dry_run_shows_the_script_and_the_tasks_and_never_changes(
    own_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        "launch slurm --dry-run --array|a b,c,d,e,f,g|--gpus 2 --cpus-per-task 4 --mem 32G --time 2h --partition gpu --job-suffix night "
        "-- extract --model {item}"
    )
    first, items, rest = words.split("|")
    argv = [*first.split(), items, *rest.split()]
    assert run(argv) == 0
    text = capsys.readouterr().out
    assert _stable(text, own_home) == DRY_RUN
    assert run(argv) == 0
    assert capsys.readouterr().out == text
    assert not (own_home / "interp").exists()


def test_a_dry_run_of_a_sweep_lists_its_points(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("global:\n  a: {values: [1, 2]}\n  b.c: {values: [x]}\n")
    assert run(["sweep", str(file), "--dry-run", "--json", "--", "catalog", "list"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [task["argv"] for task in said["tasks"]] == [
        ["catalog", "list", "--a=1", "--b.c=x"],
        ["catalog", "list", "--a=2", "--b.c=x"],
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["launch", "slurm"], "no command is given"),
        (["launch", "slurm", "--array", "a,b", "--", "extract"], "does not use {item}"),
        (["launch", "slurm", "--time", "2m", "--", "extract"], "shorter than --signal-seconds"),
        (["launch", "slurm", "--cpu", "--gpus", "2", "--", "extract"], "contradict each other"),
        (["launch", "slurm", "--gpus", "9", "--", "extract"], "the cap is 8"),
        (["launch", "slurm", "--n-agents", "0", "--", "extract"], "--n-agents 0 is not positive"),
        (["launch", "ssh", "--", "extract"], "no hosts are given"),
        (["launch", "status", "nothing"], "unknown launch 'nothing'"),
        (["sweep", "nothing.yaml", "--", "extract"], "no sweep file nothing.yaml"),
        (["sweep", "nothing.yaml"], "no sweep file nothing.yaml"),
    ],
)
def test_wrong_usage_is_one_message_and_exit_code_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    assert message in capsys.readouterr().err


def test_a_printed_launch_is_listed_shown_and_cancelled(
    own_home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["launch", "print", "--array", "a,b", "--json", "--", "catalog", "show", "x", "{item}"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert run(["launch", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["launches"][0]["id"] == made["id"]
    assert run(["launch", "status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"] == {"waiting": 2}
    assert run(["launch", "logs", "last", "0"]) == 2
    assert "has written nothing yet" in capsys.readouterr().err
    assert run(["launch", "logs", "last", "2"]) == 2
    assert "there is no task 2" in (said := capsys.readouterr().err)
    assert "0 to 1" in said
    assert run(["launch", "cancel", made["id"], "--tasks", "1"]) == 0
    assert run(["launch", "status"]) == 0
    assert "1 cancelled, 1 waiting" in capsys.readouterr().out
    assert run(["sweep", "results", made["id"]]) == 2
    assert "is no sweep" in capsys.readouterr().err


def test_settings_of_a_launcher_can_be_written_behind_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("global:\n  a: {values: [1]}\n")
    words = [
        "sweep",
        str(file),
        "--dry-run",
        "--launcher",
        "slurm:partition=big,requeue=false",
        "--",
        "catalog",
        "list",
    ]
    assert run(words) == 0
    text = capsys.readouterr().out
    assert "--partition=big" in text
    assert "--no-requeue" in text
    assert run([*words[:4], "slurm:partitoin=x", *words[5:]]) == 2
    assert "did you mean partition?" in capsys.readouterr().err
