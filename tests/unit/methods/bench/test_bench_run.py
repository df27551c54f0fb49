"""`interp bench`: tasks, embedding cache, files, failures."""

import csv
import json
import os

import pytest
import torch

from interp_plugins.datasets.image_text import config as data
from interp_plugins.methods.bench.config import BenchConfig
from interp_plugins.methods.bench.embeddings import CachedEmbedder
from interp_plugins.methods.bench.probe import linear_probe
from interp_plugins.methods.bench.run import bench
from interp_plugins.methods.bench.suites import WHATSUP, suite
from interp_plugins.methods.bench.tasks import Prompts, evaluate
from interp_registry.contracts.data import CaptionedImage, Dataset, TextSample
from interp_registry.errors import DataError, UsageError
from interp_registry.events import MemorySink


class OracleModel:
    """Embeds a world's captions and pictures from a table, so that the right answer is known."""

    name = "oracle"

    def __init__(self, dataset: Dataset, swap: bool = False, revision: str = "1") -> None:
        self.revision, self.calls = revision, 0
        self._table = {}
        for sample in dataset:
            pictures = getattr(sample, "images", None) or (sample.image,)
            captions = sample.captions if len(pictures) == 2 else (sample.captions[getattr(sample, "answer", 0)],)
            for picture, caption in zip(pictures, captions[::-1] if swap else captions, strict=True):
                self._table[picture.tobytes()] = caption

    def _vector(self, text: str) -> torch.Tensor:
        generator = torch.Generator().manual_seed(
            int.from_bytes(text.encode()[-6:], "big") + len(text) * 7919 + hash_of(text)
        )
        vector = torch.randn(32, generator=generator)
        return vector / vector.norm()

    def embed_texts(self, texts):
        self.calls += 1
        return torch.stack([self._vector(text) for text in texts])

    def embed_images(self, images):
        self.calls += 1
        return torch.stack([self._vector(self._table[image.tobytes()]) for image in images])


def hash_of(text: str) -> int:
    return sum((i + 1) * byte for i, byte in enumerate(text.encode()))


def embedder(dataset: Dataset, folder=None, **options) -> CachedEmbedder:
    return CachedEmbedder(OracleModel(dataset, **options), folder, MemorySink())


def test_an_oracle_is_right_everywhere_and_its_opposite_nowhere():
    twins, choices = data.WorldTwins(n=40).build(), data.WorldChoices(n=40).build()
    right = evaluate(embedder(twins), twins)
    assert {name: score.value for name, score in right.scores.items()} == {"text_acc": 1, "image_acc": 1, "acc": 1}
    wrong = evaluate(embedder(twins, swap=True), twins)
    assert wrong.scores["acc"].value == 0
    assert wrong.scores["acc"].chance == pytest.approx(1 / 6)
    assert wrong.scores["acc"].high > 0
    chosen = evaluate(embedder(choices), choices)
    assert chosen.scores["acc"].value == chosen.scores["pair_acc"].value == 1
    assert chosen.scores["pair_acc"].chance == pytest.approx(0.25)


def test_scores_by_kind_stand_in_a_table_with_intervals():
    twins = data.WorldTwins(n=40).build()
    table = evaluate(embedder(twins), twins).tables[0]
    assert [row[0] for row in table.rows] == ["colour", "relation", "shape", "size"]
    assert {"n", "group_score", "group_score_low", "group_score_high"} <= set(table.columns)


def test_retrieval_uses_every_caption_of_an_image():
    pairs = data.WorldPairs(n=30, n_captions=3).build()
    scores = evaluate(embedder(pairs), pairs).scores
    assert scores["text_retrieval_recall@1"].value == 1
    assert scores["image_retrieval_recall@1"].value < 0.6
    assert scores["text_retrieval_recall@1"].chance == pytest.approx(1 / 30)
    assert scores["rsum"].low <= scores["rsum"].value <= scores["rsum"].high


def test_one_letter_captions_are_an_error_and_not_a_score():
    class Letters(Dataset):
        name = "letters"

        def __len__(self):
            return 3

        def __getitem__(self, index):
            return CaptionedImage(str(index), data.WorldPairs(n=1).build().image(0), ("A",))

    with pytest.raises(DataError, match=r"1\.00 words"):
        evaluate(embedder(data.WorldPairs(n=1).build()), Letters())


def test_samples_without_a_benchmark_are_refused():
    class Texts(Dataset):
        name = "texts"

        def __len__(self):
            return 1

        def __getitem__(self, index):
            return TextSample("0", "a text")

    with pytest.raises(UsageError, match="TextSample"):
        evaluate(embedder(data.WorldPairs(n=1).build()), Texts())


def test_templates_need_a_place_for_the_class_and_labels_a_name(untrained):
    classes = data.WorldClasses(n=40).build()
    clip = CachedEmbedder(untrained, None, MemorySink())
    with pytest.raises(UsageError, match="no place for the class"):
        evaluate(clip, classes, Prompts(templates=("a photo",)))
    with pytest.raises(DataError, match="2 class names"):
        evaluate(clip, classes, Prompts(class_names=("red", "blue")))
    found = evaluate(clip, classes)
    assert found.facts["n_classes"] == 10
    assert found.to_json()["task"] == "zeroshot_classification"


def test_embeddings_are_kept_by_weights_and_data_and_damaged_ones_are_made_again(tmp_path, caplog):
    pairs = data.WorldPairs(n=8).build()
    first = embedder(pairs, tmp_path)
    scores = evaluate(first, pairs).scores
    again = embedder(pairs, tmp_path)
    assert evaluate(again, pairs).scores == scores
    assert again.model.calls == 0
    assert first.model.calls == 2
    other = embedder(pairs, tmp_path, revision="2")
    evaluate(other, pairs)
    assert other.model.calls == 2
    for path in tmp_path.glob("*.safetensors"):
        content = bytearray(path.read_bytes())
        content[-5] ^= 1
        path.write_bytes(content)
    mended = embedder(pairs, tmp_path)
    assert evaluate(mended, pairs).scores == scores
    assert mended.model.calls == 2
    assert "computed again" in caplog.text


def test_a_linear_probe_separates_what_is_separable():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (300,), generator=generator)
    centres = 3 * torch.randn(3, 8, generator=generator)
    x = centres[labels] + torch.randn(300, 8, generator=generator)
    probe = linear_probe(x[:200], labels[:200], x[200:], n_classes=5)
    assert (probe.scores.argmax(dim=1) == labels[200:]).double().mean() > 0.95
    assert (probe.scores[:, 3:] < -1e8).all()
    two = linear_probe(x[:200], labels[:200].clamp_max(1), x[200:], n_classes=2)
    assert two.scores.shape == (100, 2)
    with pytest.raises(DataError, match="a probe needs"):
        linear_probe(x[:4], labels[:4], x, 3)


def test_a_run_stores_json_with_the_keys_of_clip_benchmark_and_a_csv(untrained_context, tmp_path):
    published = tmp_path / "published.json"
    published.write_text('{"world_twins": {"acc": 0.5}}')
    sets = [data.WorldTwins(n=12), data.WorldClasses(n=200)]
    config = BenchConfig(models=["clip-bow-init"], datasets=sets, compare=published, linear_probe=True)
    result = bench(config, untrained_context)
    assert result.failures == []
    stored = json.loads(result.artifacts[0].read_text())
    assert {"dataset", "model", "pretrained", "task", "metrics", "language", "chance", "interval", "n"} <= set(stored)
    assert stored["metrics"].keys() == stored["chance"].keys() == stored["interval"].keys()
    rows = list(csv.DictReader(result.artifacts[-1].read_text().splitlines()))
    assert {row["dataset"] for row in rows} == {"world_twins", "world_colours"}
    assert "lp_acc1" in {row["metric"] for row in rows}
    by_metric = {(row[1], row[2]): row for row in result.tables[0].rows}
    columns = result.tables[0].columns
    twins = dict(zip(columns, by_metric["world_twins", "acc"], strict=True))
    assert twins["difference"] == pytest.approx(twins["score"] - 0.5)
    assert json.dumps(result.to_json())


def test_a_model_or_data_set_that_fails_is_recorded_and_the_others_go_on(untrained_context):
    config = BenchConfig(
        models=["nobody/nothing", "clip-bow-init"], datasets=[data.Coco(), data.WorldTwins(n=8)], cache=False
    )
    result = bench(config, untrained_context)
    assert [(failure.item, failure.error) for failure in result.failures] == [
        ("Coco", "UsageError"),
        ("nobody/nothing", "OfflineError"),
    ]
    assert "clip-bow-init/world_twins/acc" in result.scalars
    with pytest.raises(DataError, match="nothing could be scored"):
        bench(BenchConfig(models=["nobody/nothing"], datasets=[data.WorldTwins(n=8)]), untrained_context)


def test_files_that_cannot_be_used_are_refused(untrained_context, tmp_path):
    empty = tmp_path / "empty.txt"
    empty.write_text("")
    with pytest.raises(UsageError, match="is empty"):
        bench(BenchConfig(class_names=empty), untrained_context)
    with pytest.raises(UsageError, match="published values"):
        bench(BenchConfig(compare=empty), untrained_context)
    latin, pipe = tmp_path / "latin.txt", tmp_path / "pipe"
    latin.write_bytes("Möwe".encode("latin-1"))
    os.mkfifo(pipe)
    for file, message in ((latin, "cannot be read: 'utf-8'"), (pipe, "is a pipe"), (tmp_path / "no", "cannot be read")):
        for config in (BenchConfig(class_names=file), BenchConfig(compare=file)):
            with pytest.raises(UsageError, match=message):
                bench(config, untrained_context)


def test_the_suites_name_the_data_sets_of_every_task():
    from interp_registry.choices import DatasetConfig
    from interp_registry.discovery import discover

    discover()
    names = [DatasetConfig.get_choice_name(type(one)) for one in suite("clip")]
    assert names[:5] == ["world_pairs", "world_twins", "world_choices", "world_classes", "world_classes"]
    assert {"winoground", "whatsup", "flickr30k", "imagenet"} < set(names)


def test_the_suite_takes_in_what_lies_in_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = len(suite("clip"))
    (tmp_path / "dataset_coco.json").write_text("{}")
    (tmp_path / "flickr30k_order.json").write_text("[]")
    added = suite("clip")[before:]
    assert [type(one) for one in added] == [data.Coco, data.Aro]
    assert [one.subset for one in suite("clip") if isinstance(one, data.WhatsUp)] == list(WHATSUP)


@pytest.mark.parametrize("name", ["vit-d64", "clip-bow:vision"])
def test_models_of_images_alone_are_probed_on_labelled_images_and_refused_elsewhere(untrained_context, name):
    datasets = [data.WorldClasses(n=900), data.WorldPairs(n=30), data.WorldClasses(attribute="shape", n=900)]
    result = bench(BenchConfig(models=[name], datasets=datasets), untrained_context)
    assert set(result.scalars) == {f"{name}/world_colours/lp_acc1", f"{name}/world_shapes/lp_acc1"}
    assert result.scalars[f"{name}/world_colours/lp_acc1"] > 0.3
    assert [failure.item for failure in result.failures] == [f"{name} on world_pairs"]
    assert "reads images only" in result.failures[0].message
    assert "--suite linear-probe" in result.failures[0].message
    assert json.loads(result.artifacts[0].read_text())["task"] == "linear_probe"


def test_the_images_of_a_timm_model_are_pooled_as_before_its_classifier():
    import timm

    from interp_plugins.methods.bench.image_only import ImageOnlyModel
    from interp_plugins.models.timm import wrap_timm_model

    network = timm.create_model("resnet10t", num_classes=5).eval()
    pictures = [data.WorldPairs(n=3).build().image(i) for i in range(3)]
    wrapped = wrap_timm_model(network, {"name": "r", "revision": "1"})
    found = ImageOnlyModel(wrapped, "r", batch_size=2).embed_images(pictures)
    pixels = wrapped.collate(wrapped.preprocess(pictures)).inputs["pixel_values"]
    with torch.no_grad():
        torch.testing.assert_close(found, network.forward_features(pixels).mean(dim=(2, 3)), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(network.fc(found), network(pixels), rtol=1e-4, atol=1e-5)
    with pytest.raises(UsageError, match="reads images only"):
        ImageOnlyModel(wrapped, "r").embed_texts(["a cat"])


def test_the_suite_of_probes_has_labelled_images_alone():
    assert all(isinstance(one, data.WorldClasses) for one in suite("linear-probe"))
    assert len(suite("linear-probe")) == 2
