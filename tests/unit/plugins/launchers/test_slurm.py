"""The slurm launcher without SLURM: script, options, counting, messages."""

import stat
import subprocess
from pathlib import Path

import pytest

from interp_plugins.launchers.config import SlurmLauncherConfig
from interp_plugins.launchers.slurm import Slurm, gpus_asked_for
from interp_plugins.launchers.slurm_script import OFFSET, batch_script
from interp_registry.contracts.launcher import Job, Launch, Resources
from interp_registry.errors import InterpError, MissingDependencyError, UsageError

SCRIPT = """\
#!/bin/bash
#SBATCH --job-name=interp-sweep-20260101-000000-abc123
#SBATCH --partition=gpu
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=64G
#SBATCH --time=8:05:00
#SBATCH --output="/home/a b/50%%/L/logs/%A_%a.out"
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR2@120
#SBATCH --dependency=afterok:77
#SBATCH --array=0-99%8
#SBATCH --constraint=a100

export INTERP_JOB_ID="${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
export INTERP_JOB_RESTART="${SLURM_RESTART_COUNT:-0}"
export INTERP_LOG='/home/a b/50%/L/logs'/"${INTERP_JOB_ID}.out"
module load cuda
export PYTHONPATH='/home/a b/50%/L/snapshot'
exec /venv/bin/python -P -m interp_cli.launch.run_task '/home/a b/50%/L' "$((SLURM_ARRAY_TASK_ID + ${INTERP_TASK_OFFSET:-0}))"
"""


def _launch(**changes: object) -> Launch:
    folder = Path("/home/a b/50%/L")
    settings = {
        "id": "20260101-000000-abc123", "folder": folder, "name": "sweep", "n_tasks": 100, "n_agents": 8,
        "resources": Resources(1, 8, "64G", 485), "agent_command": (),
        "task_command": ("/venv/bin/python", "-P", "-m", "interp_cli.launch.run_task", str(folder)),
        "environment": {"PYTHONPATH": str(folder / "snapshot")},
    }  # fmt: skip
    return Launch(**{**settings, **changes})


def test_the_script_is_constant_and_its_text_is_known() -> None:
    config = SlurmLauncherConfig(
        partition="gpu", dependency="77", sbatch=["constraint=a100"], setup=["module load cuda"]
    )
    assert batch_script(config, _launch(), range(100)) == SCRIPT


def test_the_script_is_valid_bash() -> None:
    answer = subprocess.run(
        ["bash", "-n"], input=batch_script(SlurmLauncherConfig(), _launch(), range(3)), text=True, capture_output=True
    )
    assert (answer.returncode, answer.stderr) == (0, "")


@pytest.mark.parametrize(
    "config", [SlurmLauncherConfig(partition="a\n#SBATCH --uid=0"), SlurmLauncherConfig(sbatch=["x y=1"])]
)
def test_options_cannot_smuggle_in_lines(config: SlurmLauncherConfig) -> None:
    with pytest.raises(UsageError):
        batch_script(config, _launch(), [0])


def test_a_time_limit_that_would_requeue_for_ever_is_refused() -> None:
    launcher = Slurm(SlurmLauncherConfig())
    with pytest.raises(UsageError, match="shorter than --signal-seconds 120"):
        launcher.check(_launch(resources=Resources(minutes=3)))
    launcher.check(_launch(resources=Resources(minutes=4)))


def test_without_requeue_a_task_does_not_ask_for_it() -> None:
    assert Slurm(SlurmLauncherConfig()).capabilities.requeue_command == ("scontrol", "requeue", "${INTERP_JOB_ID}")
    assert Slurm(SlurmLauncherConfig(requeue=False)).capabilities.requeue_command == ()
    assert "--no-requeue" in batch_script(SlurmLauncherConfig(requeue=False), _launch(), [0])


def test_gpus_are_counted_as_far_as_they_can_be_held_at_one_time() -> None:
    rows = [
        ["10", "interp-a", "[3-99%4]", "PENDING", "gres:gpu:1"],
        ["10", "interp-a", "0", "RUNNING", "gres:gpu:1"],
        ["11", "interp-a", "[0-99%4]", "PENDING", "gres:gpu:1"],
        ["12", "bash", "N/A", "RUNNING", "gres/gpu:a100:2"],
        ["13", "train", "[0-2]", "PENDING", "gres:gpu"],
        ["14", "cpu", "N/A", "RUNNING", "N/A"],
    ]
    assert gpus_asked_for(rows) == 4 + 2 + 3
    assert gpus_asked_for([]) == 0


@pytest.fixture
def slurm_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Programs with SLURM's names that note how they were called."""

    def install(**answers: str) -> Path:
        for name, body in answers.items():
            path = tmp_path / name
            path.write_text(
                f'#!/bin/bash\necho "{name} $* offset=${OFFSET} token=$HF_TOKEN" >> {tmp_path}/calls\n{body}\n'
            )
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        return tmp_path / "calls"

    return install


def _real(tmp_path: Path, n_tasks: int) -> Launch:
    folder = tmp_path / "L"
    (folder / "logs").mkdir(parents=True)
    return _launch(folder=folder, n_tasks=n_tasks)


def test_a_large_launch_becomes_arrays_that_follow_each_other(slurm_commands, tmp_path: Path) -> None:
    calls = slurm_commands(sbatch="echo $RANDOM", scontrol="echo 'MaxArraySize            = 1001'")
    launcher = Slurm(SlurmLauncherConfig(log_dir=tmp_path / "links"))
    jobs = launcher.start(_real(tmp_path, 1500), range(1500), {"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert [len(job.tasks) for job in jobs] == [1001, 499]
    said = [line for line in calls.read_text().splitlines() if line.startswith("sbatch")]
    assert "--array=0-1000%8" in said[0]
    assert "offset=0" in said[0]
    assert f"--array=0-498%8 --dependency=afterany:{jobs[0].id}" in said[1]
    assert "offset=1001" in said[1]


def test_a_retry_submits_only_its_tasks(slurm_commands, tmp_path: Path) -> None:
    calls = slurm_commands(sbatch="echo '123;cluster'")
    jobs = Slurm(SlurmLauncherConfig(log_dir=tmp_path / "links")).start(
        _real(tmp_path, 20), [3, 4, 9], {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    )
    assert jobs == [Job("123", (3, 4, 9), details={"offset": "0"})]
    assert "--array=3-4,9%3" in calls.read_text()
    assert sorted(path.name for path in (tmp_path / "links").iterdir()) == [
        "slurm-123_3.out",
        "slurm-123_4.out",
        "slurm-123_9.out",
    ]


def test_the_queue_is_asked_without_accounting(slurm_commands) -> None:
    slurm_commands(squeue="printf '7|0|RUNNING\\n7|1|PENDING\\n7|2|FAILED\\n8|0|REQUEUED\\n'")
    jobs = [Job("7", (0, 1, 2, 3), details={"offset": "0"}), Job("8", (10,), details={"offset": "10"})]
    assert Slurm(SlurmLauncherConfig()).states(jobs) == {0: "running", 1: "queued", 2: "gone", 3: "gone", 10: "queued"}


def test_a_queue_that_does_not_answer_leaves_states_unknown(slurm_commands) -> None:
    slurm_commands(squeue="echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1")
    assert Slurm(SlurmLauncherConfig()).states([Job("7", (0,))]) == {0: "unknown"}


def test_slurms_own_words_reach_the_user(slurm_commands, tmp_path: Path) -> None:
    slurm_commands(sbatch="echo 'sbatch: error: invalid partition specified: gpux' >&2; exit 1")
    with pytest.raises(InterpError, match="invalid partition specified: gpux"):
        Slurm(SlurmLauncherConfig(log_dir=tmp_path / "x")).start(
            _real(tmp_path, 1), [0], {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        )


def test_a_machine_without_slurm_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match="scancel is not on this machine"):
        Slurm(SlurmLauncherConfig()).cancel([Job("1", (0,))])
    assert Slurm(SlurmLauncherConfig()).gpus_in_use() == 0


def test_tasks_and_jobs_are_cancelled_by_their_own_names(slurm_commands) -> None:
    calls = slurm_commands(scancel="")
    launcher, jobs = Slurm(SlurmLauncherConfig()), [Job("7", (100, 101, 102), details={"offset": "100"})]
    launcher.cancel(jobs, [101, 5])
    launcher.cancel(jobs)
    assert [line.split(" offset")[0] for line in calls.read_text().splitlines()] == [
        "scancel --quiet 7_1",
        "scancel --quiet 7",
    ]
