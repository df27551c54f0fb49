"""Launch folders: readable by eye, written once, and never half."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from interp_cli.launch.folder import Ended, LaunchFolder, Task, find_launch, list_launches, new_launch_id
from interp_registry.errors import CorruptError, UnknownNameError, UsageError
from interp_registry.process_identity import this_process

_DESCRIPTION = {
    "launcher": {"name": "print", "config": {"type": "print"}},
    "launch": {"name": "", "n_agents": 1, "resources": {"gpus": 0}, "task_command": ["x"], "agent_command": ["x"]},
}


def _folder(parent: Path, name: str = "20260101-000000-abc123", n_tasks: int = 2) -> LaunchFolder:
    tasks = [Task(i, ("extract", f"--model=m{i}"), f"m{i}", {"b": 1, "a": 2}) for i in range(n_tasks)]
    return LaunchFolder.create(parent, name, _DESCRIPTION, tasks)


def test_tasks_come_back_as_they_were_written_with_parameters_in_order(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    tasks = folder.tasks()
    assert tasks[1].argv == ("extract", "--model=m1")
    assert list(tasks[0].params) == ["b", "a"]
    assert folder.describe()["id"] == folder.id


def test_arguments_with_every_kind_of_character_come_back(tmp_path: Path) -> None:
    argv = ("a b", "'\"$(touch x)`;|&", "é\n\t", "{item}", "--x=")
    folder = LaunchFolder.create(tmp_path, "x", {}, [Task(0, argv)])
    assert folder.tasks()[0].argv == argv


def test_a_launch_is_not_made_twice(tmp_path: Path) -> None:
    _folder(tmp_path)
    with pytest.raises(UsageError, match="exists already"):
        _folder(tmp_path)


def test_how_a_task_ended_is_recorded_once(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    assert folder.end(Ended(0, "done", 0))
    assert not folder.end(Ended(0, "failed", 1))
    assert folder.ended(0).state == "done"
    assert folder.ended(1) is None
    assert folder.ended_numbers() == {0}
    assert set(folder.all_ended()) == {0}


def test_a_reopened_task_has_not_ended_and_its_record_is_kept(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    folder.end(Ended(1, "failed", 1))
    folder.reopen(1)
    assert folder.ended(1) is None
    assert folder.times_reopened(1) == 1
    assert folder.ended_numbers() == set()
    assert folder.end(Ended(1, "done", 0))


def test_a_torn_last_line_is_no_task_and_is_dropped_before_more_are_added(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    with (folder.path / "tasks.jsonl").open("a") as target:
        target.write('{"i": 2, "argv": ["x"')
    assert len(folder.tasks()) == 2
    folder.append_tasks([Task(2, ("y",))])
    assert [task.i for task in folder.tasks()] == [0, 1, 2]


def test_damage_is_reported_with_file_and_line(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    (folder.path / "tasks.jsonl").write_text('{"i": 0, "argv": []}\nnonsense\n')
    with pytest.raises(CorruptError, match=r"tasks.jsonl, line 2"):
        folder.tasks()
    (folder.path / "launch.json").write_text("{")
    with pytest.raises(CorruptError, match=r"launch.json"):
        folder.describe()


def test_launches_are_found_by_part_of_their_id_by_path_and_as_the_last(tmp_path: Path) -> None:
    old, new = _folder(tmp_path, "20260101-000000-aaaaaa"), _folder(tmp_path, "20260102-000000-bbbbbb")
    assert list_launches(tmp_path) == [new, old]
    assert find_launch(tmp_path, "last") == new
    assert find_launch(tmp_path, "aaaaaa") == old
    assert find_launch(tmp_path, "20260102") == new
    assert find_launch(Path("nowhere"), str(old.path)) == old
    with pytest.raises(UsageError, match="launch '2026' could be 20260102-000000-bbbbbb, 2026"):
        find_launch(tmp_path, "2026")
    with pytest.raises(UnknownNameError, match="unknown launch 'cccccc'"):
        find_launch(tmp_path, "cccccc")


def test_a_folder_without_its_description_is_no_launch(tmp_path: Path) -> None:
    (tmp_path / "half" / "state").mkdir(parents=True)
    assert list_launches(tmp_path) == []
    assert list_launches(tmp_path / "nowhere") == []


def test_ids_begin_with_the_time_and_differ() -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert new_launch_id(now).startswith("20260102-030405-")
    assert new_launch_id(now) != new_launch_id(now)


def test_the_owner_is_known_to_live(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    assert not folder.owner_alive()
    folder.own(this_process())
    assert folder.owner_alive()
