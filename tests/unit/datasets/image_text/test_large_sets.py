"""Sets of images and texts that do not fit in memory: images are decoded when they are needed, once, a few at a time."""

import io
import tarfile
import weakref

import numpy as np
import pytest
import torch
from PIL import Image

from interp_plugins.datasets.image_text.config import WebDatasetTars
from interp_plugins.datasets.image_text.webdataset import WebDatasetDataset
from interp_plugins.methods.bench import embeddings
from interp_plugins.methods.bench.embeddings import CachedEmbedder
from interp_plugins.methods.bench.tasks import evaluate, image_classes
from interp_plugins.methods.clip.config import ClipTrainConfig
from interp_plugins.methods.clip.training import ClipTraining, HeldOut
from interp_plugins.models.image_text.config import ImageTextOptions
from interp_plugins.models.image_text.loading import load_image_text
from interp_registry.errors import DataError
from interp_registry.events import NullSink

N, N_TARS = 120, 3
WORDS = ["red", "green", "blue", "teal", "pink", "grey", "black", "white", "small", "large", "thin", "wide"]


def picture(i):
    return Image.fromarray(np.random.default_rng(i).integers(0, 255, (16, 16, 3), dtype=np.uint8))


def write(folder, answer):
    """Tars with N pictures and what goes with each."""
    (folder / "test").mkdir(parents=True)
    (folder / "test" / "nshards.txt").write_text(str(N_TARS))
    for tar in range(N_TARS):
        with tarfile.open(folder / "test" / f"{tar}.tar", "w") as archive:
            for i in range(tar, N, N_TARS):
                png = io.BytesIO()
                picture(i).save(png, "png")
                ending, content = answer(i)
                for name, data in ((f"{i:03d}.png", png.getvalue()), (f"{i:03d}.{ending}", content)):
                    info = tarfile.TarInfo(name)
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
    return folder


@pytest.fixture
def captioned(tmp_path):
    return write(
        tmp_path / "pairs", lambda i: ("txt", f"a {WORDS[i % 12]} thing number {i}\na {WORDS[i // 12]} one".encode())
    )


class Counter:
    """Pictures that were decoded, and how many of them were in memory at the same time."""

    def __init__(self, monkeypatch):
        self.n, self.most, self._alive = 0, 0, []
        decode = WebDatasetDataset._sample

        def counted(dataset, index, row):
            sample = decode(dataset, index, row)
            picture = sample.image if hasattr(sample, "image") else sample.content
            self._alive = [one for one in self._alive if one() is not None] + [weakref.ref(picture)]
            self.n, self.most = self.n + 1, max(self.most, len(self._alive))
            return sample

        monkeypatch.setattr(WebDatasetDataset, "_sample", counted)


@pytest.fixture
def counter(monkeypatch):
    return Counter(monkeypatch)


class Means:
    """Embeds pictures by the means of their corners, texts by their letters."""

    name, revision = "means", "1"

    def embed_images(self, images):
        corners = [np.asarray(image)[::8, ::8].astype(float) - 128 for image in images]
        return torch.nn.functional.normalize(torch.tensor(np.stack(corners)).flatten(1).float(), dim=1)

    def embed_texts(self, texts):
        return torch.nn.functional.normalize(torch.tensor([[ord(c) for c in t[:12].ljust(12)] for t in texts]).float())


def test_building_a_set_decodes_nothing_and_holds_places_alone(captioned, counter):
    built = WebDatasetTars(folder=captioned).build()
    assert len(built) == N
    assert built.select(50).captions_of(1) == ("a teal thing number 3", "a red one")
    assert built.text(2, 1) == "a red one"
    assert built._places.shape == (N, 5)
    assert counter.n == 0
    with pytest.raises(DataError, match="2 texts, so none at index 2"):
        built.text(2, 2)


def test_retrieval_decodes_each_picture_once_and_a_chunk_at_a_time(captioned, counter, monkeypatch, tmp_path):
    monkeypatch.setattr(embeddings, "CHUNK", 16)
    embedder = CachedEmbedder(Means(), tmp_path / "cache", NullSink())
    scores = evaluate(embedder, WebDatasetTars(folder=captioned).build())
    assert scores.n == N
    assert counter.n == N + 1  # the first sample tells which task it is
    assert counter.most <= 2 * 16 + 1
    evaluate(embedder, WebDatasetTars(folder=captioned).build())
    assert counter.n == N + 2


def test_classes_are_known_without_decoding(tmp_path, counter):
    folder = write(tmp_path / "classes", lambda i: ("cls", str(i % 5).encode()))
    built = WebDatasetTars(folder=folder).build()
    embedder = CachedEmbedder(Means(), tmp_path / "cache", NullSink())
    assert image_classes(embedder, built)[1].tolist() == [int(i) for i in built.answers]
    assert counter.n == N
    assert sorted(built.answers) == sorted(i % 5 for i in range(N))
    chosen = built.select(7)
    assert image_classes(embedder, chosen)[1].tolist() == built.answers[:7]


def test_training_decodes_its_batches_and_the_held_out_pairs_a_batch_at_a_time(captioned, counter):
    config = ClipTrainConfig(batch_size=8, n_validation=40)
    model = load_image_text("clip-bow-init", ImageTextOptions(batch_size=10))
    dataset = WebDatasetTars(folder=captioned).build()
    training = ClipTraining(model, dataset, config, seed=0)
    held_out = HeldOut.of(dataset, list(range(60)))
    assert counter.n <= 2
    before = counter.n
    training.step(0)
    assert counter.n - before == 8
    training.evaluate(1)
    assert counter.n - before == 48
    training.values_on(held_out)
    assert counter.n - before == 108
    assert counter.most <= 2 * 10


def test_a_picture_without_a_caption_is_named(tmp_path):
    folder = write(tmp_path / "pairs", lambda i: ("txt", b"  \n" if i == 4 else b"a red thing here"))
    with pytest.raises(DataError, match=r"1/004.*empty \.txt"):
        WebDatasetTars(folder=folder).build()
