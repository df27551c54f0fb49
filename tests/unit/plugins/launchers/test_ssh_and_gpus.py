"""The ssh launcher through a stand-in for ssh, and the locks that give each agent its own GPUs."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from interp_plugins.launchers import gpu_locks
from interp_plugins.launchers.config import LocalLauncherConfig, PrintLauncherConfig, SshLauncherConfig
from interp_plugins.launchers.local import Local
from interp_plugins.launchers.printing import Print
from interp_plugins.launchers.ssh import Ssh
from interp_registry.contracts.launcher import Launch, Resources
from interp_registry.errors import InterpError, MissingDependencyError, UsageError


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    folder = tmp_path / "a b's" / "L"
    (folder / "logs").mkdir(parents=True)
    (folder / "launch.json").write_text("{}")
    said = "os.environ['INTERP_AGENT'], os.environ.get('CUDA_VISIBLE_DEVICES'), os.environ['X'], sys.argv[1]"
    code = f"import os, sys, time; print({said}); time.sleep(60)  # {folder}"
    command = (sys.executable, "-u", "-c", code)
    return Launch("L", folder, "n", 4, 3, Resources(gpus=2), command, command, {"X": "it's $HOME"})


def _processes_with(text: str) -> int:
    """Processes that mention a text, once those that were just told to end have done so."""
    n_found = 0
    for _ in range(100):
        listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
        n_found = sum("time.sleep(60)" in line and text in line for line in listed.splitlines())
        if n_found == 0:
            break
        time.sleep(0.05)
    return n_found


@pytest.fixture
def ssh(tmp_path: Path) -> Ssh:
    program = tmp_path / "fake-ssh"
    program.write_text(
        '#!/bin/bash\nhost="$1"; shift\n[ "$host" = down ] && { echo "no route to host" >&2; exit 255; }\nexec bash -c "$*"\n'
    )
    program.chmod(0o755)
    return Ssh(SshLauncherConfig(hosts=["h1,h2"], ssh=[str(program)]))


def test_agents_are_shared_out_over_the_hosts_and_can_be_ended(ssh: Ssh, launch: Launch) -> None:
    jobs = ssh.start(launch, [0, 1, 2, 3], {})
    try:
        assert [job.host for job in jobs] == ["h1", "h1", "h2"]
        assert ssh.states(jobs) == dict.fromkeys(range(4), "queued")
        log = launch.folder / "logs" / "ssh1.log"
        deadline = time.monotonic() + 10
        while not (log.exists() and log.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert log.read_text() == "ssh1 2,3 it's $HOME 0-3\n"
    finally:
        ssh.cancel(jobs)
    deadline = time.monotonic() + 10
    while ssh.states(jobs)[0] != "gone" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert ssh.states(jobs) == dict.fromkeys(range(4), "gone")


def test_a_host_that_does_not_see_the_folder_or_does_not_answer_is_named(ssh: Ssh, launch: Launch) -> None:
    (launch.folder / "launch.json").unlink()
    with pytest.raises(UsageError, match="h1 does not see"):
        ssh.start(launch, [0], {})
    down = Ssh(SshLauncherConfig(hosts=["down"], ssh=ssh.config.ssh))
    with pytest.raises(InterpError, match="ssh to down failed: no route to host"):
        down.start(launch, [0], {})
    missing = Ssh(SshLauncherConfig(hosts=["h"], ssh=["/nowhere/ssh"]))
    (launch.folder / "launch.json").write_text("{}")
    half = Ssh(SshLauncherConfig(hosts=["h1", "down"], ssh=ssh.config.ssh))
    with pytest.raises(InterpError, match="ssh to down failed"):
        half.start(launch, [0, 1, 2], {})
    assert _processes_with(str(launch.folder)) == 0
    with pytest.raises(MissingDependencyError, match="/nowhere/ssh"):
        missing.start(launch, [0], {})


@pytest.mark.parametrize("hosts", [[], ["-oProxyCommand=x"], ["a b"], ["a\nb"]])
def test_what_is_no_host_is_refused(hosts: list[str], launch: Launch) -> None:
    with pytest.raises(UsageError):
        Ssh(SshLauncherConfig(hosts=hosts)).check(launch)


def test_the_print_launcher_writes_commands_that_a_shell_reads_back(launch: Launch) -> None:
    launcher = Print(PrintLauncherConfig())
    assert not launcher.capabilities.starts
    lines = launcher.script(launch, [0, 3]).splitlines()
    assert len(lines) == 2
    answer = subprocess.run(["bash", "-c", "printf '%s\\n' " + lines[1]], capture_output=True, text=True)
    assert answer.stdout.splitlines()[:2] == ["env", "X=it's $HOME"]
    assert answer.stdout.splitlines()[-1] == "3"


@pytest.fixture
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.mark.usefixtures("own_locks")
def test_no_gpu_is_given_to_two_agents() -> None:
    first = gpu_locks.acquire(["0", "1", "2"], 2)
    assert first.ids == ("0", "1")
    assert gpu_locks.acquire(["0", "1", "2"], 2) is None
    second = gpu_locks.acquire(["0", "1", "2"], 1)
    assert second.ids == ("2",)
    assert gpu_locks.gpus_locked() == 3
    first.close()
    assert gpu_locks.gpus_locked() == 1
    second.close()


@pytest.mark.usefixtures("own_locks")
def test_a_child_that_inherits_a_gpu_holds_it_until_it_ends() -> None:
    lease = gpu_locks.acquire(["0"], 1)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=lease.descriptors)
    lease.close()
    assert gpu_locks.acquire(["0"], 1) is None
    child.kill()
    child.communicate()
    again = gpu_locks.acquire(["0"], 1)
    assert again is not None
    again.close()


def test_gpus_are_those_that_the_user_may_see(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 5")
    assert gpu_locks.gpu_ids() == ["3", "5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpu_locks.gpu_ids() == []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/bash\nprintf '0\\n1\\n'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert gpu_locks.gpu_ids() == ["0", "1"]


def test_a_task_cannot_have_more_gpus_than_the_machine(monkeypatch: pytest.MonkeyPatch, launch: Launch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(UsageError, match="asks for 2 GPUs, this machine has 1"):
        Local(LocalLauncherConfig()).check(launch)
    Local(LocalLauncherConfig(gpu_ids=["0,1"])).check(launch)
