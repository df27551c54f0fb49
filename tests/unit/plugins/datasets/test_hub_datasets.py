"""Hub data sets, on a local stand-in for the stream (default tier)."""

import datasets
import pytest
from PIL import Image

from interp_plugins.datasets.config import HubDatasetConfig
from interp_plugins.datasets.hub import HubStream, load
from interp_registry.errors import DataError, UnknownNameError, UsageError


def rows(n=30):
    return [{"text": [f"caption {i}", f"page {i}"], "image": Image.new("RGB", (4, 4), (i, 0, 0))} for i in range(n)]


@pytest.fixture
def hub(monkeypatch):
    features = datasets.Features({"image": datasets.Image(), "text": datasets.List(datasets.Value("string"))})
    asked = {}

    def load_dataset(name, subset, *, revision, split, streaming):
        asked.update(name=name, revision=revision, split=split, streaming=streaming)
        return datasets.Dataset.from_list(rows(), features=features).to_iterable_dataset()

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr("interp_plugins.datasets.hub.hub_answers", lambda: True)
    return asked


def stream(**fields) -> HubStream:
    return load(HubDatasetConfig(name="some/set", **({"text": "text"} | fields)))


def test_only_what_is_used_is_fetched_and_decoded_when_asked_for(hub) -> None:
    taken = stream().select(5)
    assert hub["streaming"] is True
    assert len(taken) == 5
    assert taken.text(3, 1) == "page 3"
    assert taken.image(2).getpixel((0, 0))[0] == 2
    assert taken[1].captions == ("caption 1", "page 1")


def test_columns_are_found_by_their_type(hub) -> None:
    assert stream().modalities == {"language", "vision"}
    assert stream(text=None).modalities == {"vision"}
    with pytest.raises(UnknownNameError, match="did you mean text"):
        stream(text="texts")


def test_the_fingerprint_is_that_of_the_rows_taken(hub) -> None:
    prints = {stream().select(5).fingerprint, stream().select(6).fingerprint, stream().select(5, 1).fingerprint}
    assert len(prints) == 3
    assert stream().select(5).fingerprint in prints
    assert next(iter(stream())).captions[0] == "caption 0"


@pytest.mark.parametrize("changed", [{"text": ["caption 2", "page x"]}, {"image": Image.new("RGB", (4, 4), (2, 0, 1))}])
def test_the_fingerprint_changes_with_a_word_or_a_pixel(monkeypatch, hub, changed) -> None:
    before = stream().select(5).fingerprint
    content = rows()
    content[2] |= changed
    monkeypatch.setattr(f"{__name__}.rows", lambda: content)
    assert stream().select(5).fingerprint != before


def test_a_stream_without_an_end_needs_a_limit(hub) -> None:
    with pytest.raises(DataError, match="--limit"):
        stream().select(None)
    with pytest.raises(DataError, match="at least 1"):
        stream().select(0)


def test_all_rows_stay_on_disk_and_an_image_is_decoded_when_it_is_asked_for(tmp_path, monkeypatch) -> None:
    from interp_plugins.datasets import hub

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    features = datasets.Features({"image": datasets.Image(), "text": datasets.List(datasets.Value("string"))})
    (tmp_path / "set").mkdir()
    datasets.Dataset.from_list(rows(), features=features).to_parquet(tmp_path / "set" / "train-00000.parquet")
    decoded = []
    opened = hub.open_image
    monkeypatch.setattr(hub, "open_image", lambda *given: decoded.append(given[1]) or opened(*given))
    whole = load(HubDatasetConfig(name=str(tmp_path / "set"), split="train", text="text")).select()
    assert len(whole) == 30
    assert whole.rows.cache_files
    assert [whole.captions_of(row)[0] for row in (0, 29)] == ["caption 0", "caption 29"]
    assert decoded == []
    assert whole.image(7).getpixel((0, 0)) == (7, 0, 0)
    assert whole.select(3)[2].captions == ("caption 2", "page 2")
    assert len(decoded) == 2
    assert whole.fingerprint != whole.select(3).fingerprint


def test_the_sets_of_prh_are_its_revisions(hub) -> None:
    from interp_plugins.datasets.config import PrhConfig
    from interp_plugins.datasets.hub import load_prh

    opened = load_prh(PrhConfig(revision="wit_4096"))
    assert hub == {"name": "minhuh/prh", "revision": "wit_4096", "split": "train", "streaming": True}
    assert opened.select(2).text(1) == "caption 1"


def test_what_the_library_refuses_is_one_line(monkeypatch) -> None:
    def load_dataset(*_, **__):
        raise ValueError("Bad split: nonsense. Available splits: ['train']\nmore")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr("interp_plugins.datasets.hub.hub_answers", lambda: True)
    with pytest.raises(UsageError, match="Bad split: nonsense") as caught:
        stream()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "/", " "])
def test_a_data_set_without_a_name_is_refused(name: str):
    with pytest.raises(UsageError, match="names no data set of the hub"):
        HubDatasetConfig(name=name).build()
