"""Image-text data sets: schemas, caption checks, offline messages."""

import io
import json
import tarfile

import datasets as hub
import numpy as np
import pytest
from PIL import Image

from interp_plugins.datasets.image_text import config as data
from interp_plugins.datasets.image_text import hub as hub_tables
from interp_plugins.datasets.image_text.base import check_captions
from interp_plugins.embedded.world import same_words
from interp_registry.contracts.data import CaptionedImage, ChoiceSample, LabelledSample, QuadSample
from interp_registry.errors import CorruptError, DataError, OfflineError, UsageError


def picture(value: int = 0) -> Image.Image:
    return Image.fromarray(np.full((8, 8, 3), value, dtype=np.uint8))


def png(value: int = 0) -> bytes:
    buffer = io.BytesIO()
    picture(value).save(buffer, "PNG")
    return buffer.getvalue()


def test_world_pairs_give_pictures_with_their_captions_and_a_fingerprint_of_what_was_asked_for():
    pairs = data.WorldPairs(n=6, n_captions=3).build()
    assert len(pairs) == 6
    assert isinstance(pairs[2], CaptionedImage)
    assert pairs[2].image.size == (64, 64)
    assert pairs.captions_of(2) == pairs[2].captions
    assert len(pairs[2].captions) == 3
    assert pairs.text(2, 1) == pairs[2].captions[1]
    assert pairs.fingerprint == data.WorldPairs(n=6, n_captions=3).build().fingerprint
    assert pairs.fingerprint != data.WorldPairs(n=7, n_captions=3).build().fingerprint


def test_world_twins_have_two_pictures_and_two_captions_of_the_same_words():
    twins = data.WorldTwins(n=8).build()
    assert isinstance(twins[3], QuadSample)
    assert twins[3].kind == "relation"
    assert all(same_words(*twins.captions_of(i)) for i in range(8))
    assert twins.tags["kind"][:4] == ["colour", "shape", "size", "relation"]


def test_world_choices_are_the_twins_one_picture_at_a_time():
    choices, twins = data.WorldChoices(n=3).build(), data.WorldTwins(n=3).build()
    assert isinstance(choices[5], ChoiceSample)
    assert choices[5].captions[choices[5].answer] == twins[2].captions[1]
    assert choices[5].image.tobytes() == twins[2].images[1].tobytes()
    assert choices.groups["pair"] == ["0", "0", "1", "1", "2", "2"]


def test_a_part_of_a_data_set_keeps_tags_and_drops_groups_that_are_no_longer_complete():
    part = data.WorldChoices(n=3).build().select(3)
    assert part.groups["pair"] == ["0", "0", ""]
    assert part.tags["kind"] == ["colour", "colour", "shape"]
    assert part.captions_of(2) == part[2].captions


def test_world_classes_label_pictures_of_one_object():
    for attribute, name in (("colour", "red"), ("shape", "circle")):
        classes = data.WorldClasses(attribute=attribute, n=60).build()
        assert isinstance(classes[0], LabelledSample)
        assert classes.class_names[0] == name
        assert len(classes.class_names) == len(classes.templates) == 10
        assert 0 < len(classes) < 60


@pytest.mark.parametrize(
    ("captions", "message"),
    [
        (["A"] * 5, "1.00 words"),
        (["a dog runs", ""], "no caption"),
        (["a dog runs", 3], "'3' is no caption"),
        (["the very same words"] * 40, "2.5% of the captions differ"),
        ([], "no captions"),
    ],
)
def test_captions_that_are_read_wrongly_are_errors(captions, message):
    with pytest.raises(DataError, match=message):
        check_captions("set", captions)


def test_karpathy_splits_give_all_captions_of_the_chosen_split(tmp_path):
    (tmp_path / "val2014").mkdir()
    picture(7).save(tmp_path / "val2014" / "a.png")
    images = [
        {
            "filename": "a.png",
            "filepath": "val2014",
            "split": "test",
            "sentences": [{"raw": f"a dog number {i} "} for i in range(5)],
        },
        {"filename": "b.png", "filepath": "val2014", "split": "train", "sentences": [{"raw": "a cat sits"}]},
    ]
    (tmp_path / "k.json").write_text(json.dumps({"images": images, "dataset": "coco"}))
    built = data.Coco(annotations=tmp_path / "k.json", images=tmp_path).build()
    assert len(built) == 1
    assert built[0].captions == tuple(f"a dog number {i}" for i in range(5))
    assert built[0].image.getpixel((0, 0)) == (7, 7, 7)
    with pytest.raises(UsageError, match=r"no split 'val'.*test, train"):
        data.Coco(annotations=tmp_path / "k.json", images=tmp_path, split="val").build()


def test_sugarcrepe_and_aro_put_the_right_caption_first(tmp_path):
    picture(3).save(tmp_path / "1.png")
    entry = {"filename": "1.png", "caption": "a red car", "negative_caption": "a blue car"}
    (tmp_path / "swap_att.json").write_text(json.dumps({"0": entry}))
    crepe = data.SugarCrepe(annotations=tmp_path, images=tmp_path, subset="swap_att").build()
    assert (crepe[0].captions, crepe[0].answer, crepe[0].kind) == (("a red car", "a blue car"), 0, "swap_att")
    relation = {
        "image_id": 9,
        "image_path": "1.png",
        "bbox_x": 1,
        "bbox_y": 2,
        "bbox_w": 4,
        "bbox_h": 3,
        "true_caption": "the dog behind the tree",
        "false_caption": "the tree behind the dog",
        "relation_name": "behind",
    }
    (tmp_path / "vg.json").write_text(json.dumps([relation]))
    aro = data.Aro(annotations=tmp_path / "vg.json", images=tmp_path).build()
    assert aro[0].image.size == (4, 3)
    assert (aro[0].captions[0], aro[0].kind) == ("the dog behind the tree", "behind")
    order = {"image": "1.png", "caption_options": ["a dog runs", "runs a dog", "dog a runs"]}
    (tmp_path / "coco_order.json").write_text(json.dumps([order]))
    orders = data.Aro(annotations=tmp_path / "coco_order.json", images=tmp_path).build()
    assert (orders.name, orders.tags) == ("aro_coco_order", {})
    assert (orders[0].captions, orders[0].answer) == (("a dog runs", "runs a dog", "dog a runs"), 0)
    assert orders[0].image.size == picture(3).size
    (tmp_path / "wrong.json").write_text(json.dumps([{"image": "1.png"}]))
    with pytest.raises(DataError, match="no file of ARO"):
        data.Aro(annotations=tmp_path / "wrong.json", images=tmp_path).build()


def test_annotation_files_cannot_lead_out_of_the_folder_of_images(tmp_path):
    (tmp_path / "images").mkdir()
    picture().save(tmp_path / "secret.png")
    entry = {"filename": "../secret.png", "caption": "a red car", "negative_caption": "a blue car"}
    (tmp_path / "swap_att.json").write_text(json.dumps({"0": entry}))
    crepe = data.SugarCrepe(annotations=tmp_path, images=tmp_path / "images", subset="swap_att").build()
    with pytest.raises(DataError, match="leads out"):
        crepe[0]


def test_a_folder_of_classes_is_labelled_in_alphabetical_order(tmp_path):
    for name in ("red_fox", "dog"):
        (tmp_path / name).mkdir()
        picture().save(tmp_path / name / "x.png")
    (tmp_path / "dog" / "notes.txt").write_text("no image")
    folder = data.LabelledFolder(folder=tmp_path).build()
    assert folder.class_names == ("dog", "red fox")
    assert [folder[i].label for i in range(len(folder))] == [0, 1]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.csv", "image,caption\na.png,a big dog\na.png,one brown dog\n"),
        ("c.tsv", "image\tcaption\na.png\ta big dog\na.png\tone brown dog\n"),
        ("c.jsonl", '{"image": "a.png", "caption": "a big dog"}\n{"image": "a.png", "caption": "one brown dog"}\n'),
        ("c.json", '[{"image": "a.png", "caption": ["a big dog", "one brown dog"]}]'),
    ],
)
def test_caption_files_put_the_captions_of_an_image_together(tmp_path, name, content):
    picture().save(tmp_path / "a.png")
    (tmp_path / name).write_text(content)
    files = data.CaptionedFiles(file=tmp_path / name).build()
    assert [sample.captions for sample in files] == [("a big dog", "one brown dog")]


def write_tar(path, members):
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def test_webdataset_tars_are_read_in_place_as_retrieval_or_classification(tmp_path):
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "nshards.txt").write_text("2")
    write_tar(tmp_path / "test" / "0.tar", {"s0.png": png(1), "s0.txt": b"a small dog\nthe dog runs\n"})
    write_tar(tmp_path / "test" / "1.tar", {"s1.png": png(2), "s1.txt": b"a black cat"})
    built = data.WebDatasetTars(folder=tmp_path).build()
    assert [sample.captions for sample in built] == [("a small dog", "the dog runs"), ("a black cat",)]
    assert built[1].image.getpixel((0, 0)) == (2, 2, 2)
    write_tar(tmp_path / "test" / "0.tar", {"s0.png": png(1), "s0.cls": b"4"})
    write_tar(tmp_path / "test" / "1.tar", {"s1.png": png(2), "s1.cls": b"0"})
    (tmp_path / "classnames.txt").write_text("\n".join("abcde"))
    (tmp_path / "zeroshot_classification_templates.txt").write_text("a photo of {c}.\n")
    labelled = data.WebDatasetTars(folder=tmp_path).build()
    assert [sample.label for sample in labelled] == [4, 0]
    assert labelled.templates == ("a photo of {c}.",)
    (tmp_path / "test" / "1.tar").write_bytes(b"not a tar")
    with pytest.raises(CorruptError, match=r"1\.tar"):
        data.WebDatasetTars(folder=tmp_path).build()
    (tmp_path / "test" / "1.tar").unlink()
    with pytest.raises(CorruptError, match=r"lacks 1\.tar"):
        data.WebDatasetTars(folder=tmp_path).build()


def served(monkeypatch, columns, **features):
    table = hub.Dataset.from_dict(columns)
    for name, feature in features.items():
        table = table.cast_column(name, feature)
    asked = {}

    def load(path, subset=None, **options):
        asked.update(path=path, subset=subset, **options)
        return table.to_iterable_dataset() if options["streaming"] else table

    monkeypatch.setattr(hub, "load_dataset", load)
    return asked


def test_winoground_keeps_all_its_tags(monkeypatch):
    images = [{"bytes": png(i), "path": None} for i in range(2)]
    columns = {
        "id": [0, 1],
        "image_0": images,
        "image_1": images,
        "caption_0": ["an old person kisses a young", "a dog"],
        "caption_1": ["a young person kisses an old", "dog a dog"],
        "tag": ["Adjective", "Noun"],
        "collapsed_tag": ["Object", "Relation"],
        "secondary_tag": ["", "Pragmatics"],
        "num_main_preds": [1, 2],
    }
    served(monkeypatch, columns, image_0=hub.Image(), image_1=hub.Image())
    built = data.Winoground().build()
    assert built[1].kind == "Relation"
    assert built.tags["num_main_preds"] == ["1", "2"]
    assert built[1].images[1].getpixel((0, 0)) == (1, 1, 1)


def test_whatsup_finds_pairs_and_sets_of_controlled_images(monkeypatch):
    places = ["on", "under", "to the left of", "to the right of"]
    options = [[f"A mug {places[(i + j) % 4]} a table" for j in range(4)] for i in range(4)]
    asked = served(
        monkeypatch,
        {"caption_options": options, "image_options": [[{"bytes": png(), "path": None}]] * 4},
        image_options=hub.List(hub.Image()),
    )
    built = data.WhatsUp().build()
    assert asked["split"] == "Controlled_Images_A"
    assert built.groups["set"] == ["a mug|a table"] * 4
    assert built.groups["pair"] == ["a mug|a table|on-under"] * 2 + ["a mug|a table|left-right"] * 2
    assert built[2].captions[built[2].answer] == "A mug to the left of a table"
    other = data.WhatsUp(subset="COCO_QA_one_obj").build()
    assert asked["split"] == "COCO_QA_one_obj"
    assert (other.groups, other.tags) == ({}, {})
    assert len(other.fingerprint) == 64


def test_flickr_takes_the_karpathy_split_from_its_column_and_refuses_captions_that_are_one_text(monkeypatch):
    images = [{"bytes": png(i), "path": None} for i in range(3)]
    captions = [[f"a man number {i} walks", f"one man {i}"] for i in range(3)]
    asked = served(
        monkeypatch, {"image": images, "caption": captions, "split": ["train", "test", "test"]}, image=hub.Image()
    )
    built = data.Flickr30k().build()
    assert asked["revision"] == "refs/convert/parquet"
    assert [sample.captions[1] for sample in built] == ["one man 1", "one man 2"]
    served(monkeypatch, {"image": images, "caption": ["a man walks"] * 3, "split": ["test"] * 3}, image=hub.Image())
    with pytest.raises(DataError, match="expected a list of texts"):
        data.Flickr30k().build()


def test_imagenet_streams_the_first_rows_when_a_limit_is_given(monkeypatch):
    columns = {"image": [{"bytes": png(i), "path": None} for i in range(5)], "label": [0, 1, 1, 0, 1]}
    labels = hub.ClassLabel(names=["tench, Tinca tinca", "goldfish"])
    asked = served(monkeypatch, columns, image=hub.Image(), label=labels)
    whole = data.ImageNet().build()
    assert (len(whole), whole.class_names, asked["streaming"]) == (5, ("tench", "goldfish"), False)
    part = data.ImageNet(limit=2).build()
    assert ([sample.label for sample in part], asked["streaming"]) == ([0, 1], True)
    assert part.class_names == ("tench", "goldfish")


@pytest.mark.parametrize("limit", [None, 3, 99])
def test_pictures_of_a_table_are_decoded_when_they_are_asked_for_and_not_kept(monkeypatch, limit):
    columns = {
        "image": [{"bytes": png(i), "path": None} for i in range(5)],
        "caption": [[f"a man {i}"] for i in range(5)],
    }
    served(monkeypatch, columns, image=hub.Image())
    monkeypatch.setattr(hub_tables, "_PIECE", 2)
    decode, decoded = hub.Image.decode_example, []
    monkeypatch.setattr(hub.Image, "decode_example", lambda *args, **given: decoded.append(1) or decode(*args, **given))
    built = data.Flickr30k(limit=limit).build()
    assert built.captions_of(2) == ("a man 2",)
    assert len(built) == (3 if limit == 3 else 5)
    assert decoded == []
    assert [np.asarray(built.image(row)).max() for row in (2, 0, 2)] == [2, 0, 2]
    assert len(decoded) == 3


def test_what_is_not_here_is_said_with_the_command_that_fetches_it(monkeypatch):
    def refuse(*_args, **_options):
        raise ConnectionError("no network")

    monkeypatch.setattr(hub, "load_dataset", refuse)
    with pytest.raises(OfflineError, match=r"facebook/winoground.*no network.*hf download facebook/winoground"):
        data.Winoground().build()
    with pytest.raises(UsageError, match="dataset_coco"):
        data.Coco().build()
    with pytest.raises(UsageError, match=r"nshards\.txt"):
        data.WebDatasetTars().build()
