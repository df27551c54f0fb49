"""Plugins that break their contract are named in one line, and nothing that they gave is stored as if it were right."""

from pathlib import Path

import pytest
from forked_cli import Answer, CommandLine, Server

pytestmark = pytest.mark.slow

QUIET = ("--no-report", "--device", "cpu", "--json")


def features(liar: CommandLine) -> list[Path]:
    return [path.parent for path in (liar.home / "store").rglob("DONE.json")]


def is_one_line(done: Answer, named: str) -> bool:
    """Whether an error is named in one line, with its advice, and without a traceback or a plea to report a defect."""
    named_in_one = any(named in line for line in done.err.splitlines())
    return named_in_one and "Traceback" not in done.err and "please report" not in done.err


MODELS = {
    "width": "liar-model-width",
    "nan": "avg/1 of liar-model-nan is not finite",
    "preprocess": "liar-model-preprocess made",
    "rows": "liar-model-rows",
    "raises": "a division in the plugin",
    "exits": "SystemExit: 0",
    "complex": "layer 1 of liar-model-complex is torch.complex64",
    "integers": "layer 1 of liar-model-integers is torch.int64",
    "vanishing": "liar-model-vanishing gave no layer 1",
}
DATA = {
    "short": "sample 7 of liar-dataset-short",
    "negative": "length of liar-dataset-negative",
    "empty": "liar-dataset-empty",
    "kind": "liar-dataset-kind",
    "raises": "sample 0 of liar-dataset-raises cannot be read: ZeroDivisionError",
    "exits": "sample 0 of liar-dataset-exits cannot be read: SystemExit",
    "captions-str": "sample '0' of liar-dataset-captions-str",
    "captions-none": "sample '0' of liar-dataset-captions-none has 0 texts",
    "changing": "liar-dataset-changing",
    "shuffled": "liar-dataset-shuffled",
}


@pytest.mark.parametrize("lie", MODELS)
def test_a_lying_model_is_named_and_not_stored_and_the_other_models_go_on(liar: CommandLine, lie: str):
    done = liar("extract", f"liar-model-{lie}", "liar-model", "--dataset", "liar-dataset", "--batch-size", "4", *QUIET)
    assert done.code == 3, done.text
    (failure,) = done.json["failures"]
    assert failure["item"] == f"liar-model-{lie}"
    assert MODELS[lie] in failure["message"]
    assert "Traceback" not in done.err
    assert [path.name.rpartition("-")[0] for path in features(liar)] == ["liar-model"]
    assert not [path for path in (liar.home / "store").rglob("*.safetensors") if f"liar-model-{lie}" in str(path)]


@pytest.mark.parametrize("lie", DATA)
def test_lying_data_are_named_in_one_line_and_nothing_is_stored(liar: CommandLine, lie: str):
    done = liar("extract", "liar-model", "--dataset", f"liar-dataset-{lie}", *QUIET)
    assert done.code in (1, 2, 3), done.text
    assert is_one_line(done, DATA[lie]), done.err
    assert not features(liar)
    assert not list((liar.home / "store").rglob("*.safetensors"))


def test_the_honest_plugin_works(liar: CommandLine):
    done = liar("extract", "liar-model", "--dataset", "liar-dataset", *QUIET)
    assert done.code == 0, done.text
    assert len(features(liar)) == 1


def test_an_extraction_does_not_go_on_with_samples_in_another_order(liar: CommandLine):
    words = ("extract", "liar-model", "--dataset", "liar-dataset-drifting", "--shard-rows", "4", *QUIET)
    assert liar(*words, LIAR_ORDER="1").code == 0
    (folder,) = features(liar)
    (folder / "DONE.json").unlink()
    last = max(folder.rglob("*.safetensors"))
    kept = {path: path.read_bytes() for path in folder.rglob("*.safetensors") if path != last}
    last.unlink()
    done = liar(*words, LIAR_ORDER="2")
    assert done.code == 2, done.text
    assert is_one_line(done, "liar-dataset-drifting has its samples in another order than before: sample 0 is "), (
        done.err
    )
    assert f"interp store rm {folder.name}" in " ".join(done.err.split())
    assert not features(liar)
    done = liar(*words, LIAR_ORDER="1")
    assert done.code == 0, done.text
    assert {path: path.read_bytes() for path in kept} == kept


IMAGES = {
    "size-0": "sample 7 of liar-images-size-0",
    "array": "sample 0",
    "shuffled": "liar-images-shuffled",
}


@pytest.mark.parametrize("lie", IMAGES)
def test_lying_images_are_named_in_one_line_and_nothing_is_stored(liar: CommandLine, lie: str):
    done = liar("extract", "vit-d32", "--dataset", f"liar-images-{lie}", *QUIET)
    assert done.code in (1, 2, 3), done.text
    assert is_one_line(done, IMAGES[lie]), done.err
    assert not list((liar.home / "store").rglob("*.safetensors"))


def test_images_of_every_mode_are_read(liar: CommandLine):
    done = liar("extract", "vit-d32", "--dataset", "liar-images-modes", *QUIET)
    assert done.code == 0, done.text


METRICS = {
    "shape": "liar-metric-shape",
    "rows": "liar-metric-rows",
    "nan": "liar-metric-nan is not a number",
    "range": "; it states a range of -1.0 to 1.0",
    "complex": "liar-metric-complex",
    "words": "liar-metric-words",
    "null": "liar-metric-null' returned float64 of shape (3, 4) for scores of the null",
    "raises": "this is an error of plugin 'liar', Metric.score_pairs (liar_metrics.py, line ",
    "exits": "plugin 'liar', Metric.score_pairs (liar_metrics.py, line ",
}


@pytest.fixture(scope="module")
def extracted(lying_server: Server, tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """A home with the features of two models."""
    line = CommandLine(lying_server, tmp_path_factory.mktemp("extracted") / "home")
    assert line("extract", "lm-d32", "lm-d64", "--limit", "32", *QUIET).code == 0
    return line


@pytest.mark.parametrize("lie", METRICS)
def test_a_lying_metric_is_named_and_gives_no_score(extracted: CommandLine, lie: str):
    words = ("align", "lm-d32", "lm-d64", "--limit", "32", "--permutations", "5", "--no-extract", *QUIET)
    done = extracted(*words, "--metric", f"liar-metric-{lie}")
    assert done.code in (1, 2, 3), done.text
    assert is_one_line(done, METRICS[lie]), done.err
    assert not done.out


@pytest.mark.parametrize("lie", ["nothing", "raises", "exits"])
def test_a_launcher_that_fails_to_start_tasks_is_named(liar: CommandLine, lie: str):
    done = liar("launch", f"liar-launcher-{lie}", "--no-snapshot", "--", "config", "show")
    assert done.code == 1, done.text
    assert is_one_line(done, "Launcher failed to start tasks of "), done.err
