"""Mutated lines and files of the shell's own commands: one clear message, never a traceback, never a hang."""

import shutil
from pathlib import Path

import pytest
from hypothesis import strategies as st
from mutations import WORDS, check, mutated_texts, mutated_word, say, try_all
from small_tables import SmallTable
from tiers import counts

from interp_cli.app import BuiltinCommand, build_app
from interp_cli.launch.folder import Ended, list_launches
from interp_cli.paths import configs_dir
from interp_registry.stores.home import Layout
from interp_registry.stores.run import RunStore

SWEEP = """\
sweep: {method: random, n_points: 3, seed: 0, metric: best, goal: maximize}
global:
  seed: {values: [0, 1]}
  topk: {min: 5, max: 9, int: true}
  alpha: {values: [0.1, 0.2]}
"""


def builtin_commands():
    """Every command of the shell: its words and the options and arguments that it takes."""

    def below(command, words):
        names = command.list_commands(None) if hasattr(command, "list_commands") else []
        if isinstance(command, BuiltinCommand) and words != ["doctor"]:  # takes no value, and seconds
            yield words, command.params
        for name in names:
            yield from below(command.get_command(None, name), [*words, name])

    return list(below(build_app(), []))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A home with two runs, features, an array that ended, a sweep that ended, and files to name."""
    import timm  # noqa: F401

    import interp_plugins.models.huggingface  # noqa: F401 - the first import takes longer than a command may

    root = tmp_path_factory.mktemp("whole")
    home = Layout(root / "home")
    SmallTable(2, 8).complete(home.store)
    runs = RunStore(home.runs)
    for number in range(2):
        run = runs.create("demo", {"rows": number}, {"rows": "--rows"}, ["interp", "demo"])
        run.start()
        if number:
            run.fail("it was too much")
        else:
            run.finish({"scalars": {"best": 0.5}})
            run.seal()
    (root / "sweep.yaml").write_text(SWEEP)
    (root / "items.txt").write_text("a\nb\n")
    (root / "folder").mkdir()
    (root / "empty").touch()
    (root / "binary.pt").write_bytes(bytes(range(256)))
    here = ["--out", str(home.root), "--no-snapshot", "--cpu"]
    assert say(["launch", "print", "--array", "a,b", *here, "--", "extract", "{item}"]).code == 0
    assert (
        say(["sweep", str(root / "sweep.yaml"), "--launcher", "print", *here, "--", "align", "lm-d32", "lm-d64"]).code
        == 0
    )
    for folder in list_launches(home.launches):
        for task in folder.tasks():
            folder.end(Ended(task.i, "failed" if task.i else "done", 1 if task.i else 0, error="no"))
    return root


@pytest.fixture
def desk(whole, tmp_path, monkeypatch) -> Path:
    """A copy of it, in which the test works; nothing leaves it and no other program is started."""
    folder = tmp_path / "desk"
    shutil.copytree(whole, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("INTERP_HOME", str(folder / "home"))
    monkeypatch.setattr("typer.launch", lambda *_: 0)
    monkeypatch.setattr("interp_plugins.trackers.ui.import_runs", lambda folder: 0)
    monkeypatch.setattr("interp_plugins.trackers.ui._serve", lambda _: 0)
    return folder


def known_words(desk: Path) -> list[str]:
    """Words that mean something in some command."""
    ids = [path.name for kind in ("runs", "launches") for path in sorted((desk / "home" / kind).glob("2*"))]
    keys = [path.name for path in sorted((desk / "home" / "store" / "features").iterdir())]
    names = ["last", "cuts", "modelsets", "val", "device", "cpu", "lm-d32", "metric", "npz", "csv", "done", "local"]
    names += ["10", "8h", "64G"]
    return [*ids, *keys, *names, *(path.name for path in sorted(desk.iterdir())), "absent.txt", "folder/absent"]


SAFE = {
    ("launch", "local"): "--dry-run",
    ("launch", "print"): "--dry-run",
    ("launch", "slurm"): "--dry-run",
    ("launch", "ssh"): "--dry-run",
    ("sweep", "start"): "--dry-run",
}
"""Commands that would start something, and the word with which they do not."""


@st.composite
def lines(draw, commands, known):
    words, params = draw(st.sampled_from(commands))
    words = [*words, *filter(None, [SAFE.get(tuple(words))])]
    values = st.one_of(st.sampled_from(known), st.sampled_from(known), WORDS)
    options = [name for param in params for name in [*param.opts, *param.secondary_opts] if name.startswith("-")]
    for _ in range(draw(st.integers(0, 4))):
        option = mutated_word(draw, draw(st.sampled_from(options or ["--json"])))
        value = mutated_word(draw, draw(values))
        words += [[value], [value], [option], [option, value], [f"{option}={value}"]][draw(st.integers(0, 4))]
    return [word for word in words if word not in {"-f", "--follow"}]


@pytest.mark.parametrize("n", counts(100, 600))
def test_a_mutated_line_of_a_command_of_the_shell_is_carried_out_or_refused(n, desk, whole):
    def one(words):
        check(words, (0, 1, 2, 3))
        if {"rm", "gc", "repair", "retry", "cancel", "set"} & set(words):
            shutil.rmtree(desk / "home", ignore_errors=True)
            shutil.copytree(whole / "home", desk / "home")

    try_all(n, lines(builtin_commands(), known_words(desk)), one)


@pytest.mark.parametrize("n", counts(30, 150))
def test_a_mutated_sweep_file_is_read_or_refused(n, desk):
    command = ["align", "lm-d32", "lm-d64"]
    ways = [
        ["sweep", "sweep.yaml", "--dry-run", "--launcher", "print", "--", *command],
        [*command, "--sweep", "sweep.yaml", "--dry-run", "--launcher", "print"],
    ]

    def one(case):
        text, words = case
        Path("sweep.yaml").write_text(text, encoding="utf-8")
        check(words)

    try_all(n, st.tuples(mutated_texts(SWEEP), st.sampled_from(ways)), one)


USER = "home: home\ntrackers: [aim]\noffline: true\ndevice: cpu\nblocked_plugins: [bench]\n"


@pytest.mark.parametrize("n", counts(30, 150))
def test_a_mutated_user_configuration_is_read_or_refused(n, desk, monkeypatch):
    monkeypatch.setenv("INTERP_CONFIG", str(desk / "config.yaml"))
    monkeypatch.delenv("INTERP_HOME")
    ways = [
        ["config", "show"],
        ["config", "set", "device", "cpu"],
        ["runs", "list"],
        ["extract", "lm-d32", "--dry-run"],
    ]

    def one(case):
        text, words = case
        Path("config.yaml").write_text(text, encoding="utf-8")
        check(words)

    try_all(n, st.tuples(mutated_texts(USER), st.sampled_from(ways)), one)


MODELS = "base: other.yaml\nlanguage: [lm-d32, lm-d64]\nvision: [vit-d32]\n"
EXPERIMENT = "base: other.yaml\n" + (configs_dir() / "experiments" / "spd" / "tms_5-2.yaml").read_text()


@pytest.mark.parametrize("n", counts(30, 150))
def test_a_mutated_entry_of_the_catalog_is_read_or_refused(n, desk, monkeypatch):
    monkeypatch.setenv("INTERP_CONFIG", str(desk / "config.yaml"))
    for section in ("modelsets", "experiments/spd"):
        folder = desk / "catalog" / section
        folder.mkdir(parents=True)
        (folder / "other.yaml").write_text("steps: 3\n" if "spd" in section else "language: [lm-d32]\n")
    of_models = [
        ["catalog", "show", "modelsets", "own"],
        ["catalog", "check", "own"],
        ["extract", "own", "--dry-run"],
        ["catalog", "list"],
    ]
    of_experiments = [["catalog", "show", "experiments", "spd/own"], ["spd", "run", "own", "--dry-run"]]
    cases = st.one_of(
        st.tuples(st.just("modelsets"), mutated_texts(MODELS), st.sampled_from(of_models)),
        st.tuples(st.just("experiments/spd"), mutated_texts(EXPERIMENT), st.sampled_from(of_experiments)),
    )

    def one(case):
        section, text, words = case
        (desk / "catalog" / section / "own.yaml").write_text(text, encoding="utf-8")
        check(words, (0, 1, 2, 3))

    try_all(n, cases, one)


READING = [
    ["launch", "list"], ["launch", "status"], ["launch", "logs"], ["launch", "cancel", "last"], ["sweep", "results"],
    ["sweep", "results", "--format", "html", "--to", "to"], ["runs", "list"], ["runs", "show", "--json"], ["runs", "show"],
    ["runs", "rerun", "--seed", "x"], ["watch", "--once"], ["report"], ["report", "--no-files"], ["store", "verify"],
]  # fmt: skip


@pytest.mark.parametrize("n", counts(30, 150))
def test_a_mutated_record_of_a_run_or_launch_is_read_or_named(n, desk):
    """The records that people may edit; those with a digest are refused by it."""
    names = ["*.json", "*.jsonl", "*.yaml", "*.sh"]
    files = sorted(
        path for kind in ("runs", "launches") for name in names for path in (desk / "home" / kind).rglob(name)
    )
    whole = {path: path.read_text(encoding="utf-8") for path in files}
    cases = st.sampled_from(files).flatmap(
        lambda path: st.tuples(st.just(path), mutated_texts(whole[path]), st.sampled_from(READING))
    )

    def one(case):
        path, text, words = case
        path.write_text(text, encoding="utf-8")
        try:
            check(words, (0, 1, 2, 3))
        finally:
            path.write_text(whole[path], encoding="utf-8")

    try_all(n, cases, one)


def test_what_mutations_found_is_refused(desk):
    for words, code in (
        (["spd", "run", "tms_5-2", "--batch-of-points=["], 2),
        (["spd", "run", "tms_5-2", "--batch-of-points=[1]"], 2),
        (["spd", "run", "tms_5-2", "--batch-of-points=[]"], 2),
        (["spd", "run", "tms_5-2", "--batched"], 2),
        (["extract", "lm-d32", "--n-agents", "2"], 2),
        (["extract", "lm-d32", "--launcher", "slurm"], 2),
        (["extract", "lm-d32", "--workers", "-1", "--explain-config"], 2),
        (["extract", "lm-d32", "--batch-size", "0", "--explain-config"], 2),
        (["runs", "list", "--out", "empty"], 2),
        (["launch", "print", "--dry-run", "--array", "folder/absent/x", "--", "\udcff", "{item}"], 0),
        (["export", "nothing", "--to", "empty/below"], 2),
        (["plugins", "new", "a-name", "--kind", "metric", "--in", "empty/below"], 1),
        (["watch"], 2),
    ):
        assert check(words, (code,)), words
    run = RunStore(desk / "home" / "runs").get("last")
    assert check(["runs", "rm", run.id, "last"]).out.count("deleted") == 1
    key = next((desk / "home" / "store" / "features").iterdir()).name
    assert check(["store", "rm", "--yes", key, key]).out.count("deleted") == 1


@pytest.mark.parametrize(
    "text",
    [
        "sweep: {method: random, n_points: 1000000000000}\nglobal: {alpha: {min: 0.1, max: 0.2}}",
        "sweep: {method: random, n_points: 3, seed: 1000000000000}\nglobal: {alpha: {min: 0.1, max: 0.2}}",
        "global: {seed: {values: [2026-01-01]}}",
    ],
)
def test_a_sweep_without_end_with_a_seed_too_large_or_without_a_type_is_refused(desk, text):
    Path("sweep.yaml").write_text(text)
    said = check(["sweep", "sweep.yaml", "--dry-run", "--launcher", "print", "--", "align", "lm-d32", "lm-d64"], (2,))
    assert "1000000000000 is no whole number from 0 to" in said.err or "'2026-01-01' is no whole number" in said.err
