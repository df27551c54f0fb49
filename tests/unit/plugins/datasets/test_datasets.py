"""Files, folders and archives as data sets; hostile names and broken files (default tier)."""

import io
import json
import re
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from interp_plugins.datasets.memory import as_dataset
from interp_plugins.datasets.resolve import resolve_dataset, select_dataset
from interp_plugins.methods.extract.sources import texts_of
from interp_registry.contracts.data import CaptionedImage, ImageSample, TextSample
from interp_registry.discovery import discover
from interp_registry.errors import DataError, OfflineError, UnknownNameError, UsageError

TEXTS = ["one", "two, quoted", 'three "and" more', "vier äöü"]


@pytest.fixture(autouse=True)
def _plugins():
    discover()


def picture(colour: int) -> Image.Image:
    return Image.new("RGB", (8, 6), (colour, 0, 0))


def write_table(path: Path, texts=TEXTS, column="text") -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({column: text, "id": f"k{i}"}) + "\n" for i, text in enumerate(texts)))
    elif path.suffix == ".parquet":
        pq.write_table(pa.table({column: texts, "id": [f"k{i}" for i in range(len(texts))]}), path)
    else:
        import csv

        with path.open("w", newline="") as file:
            writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writerows([[column, "id"], *([text, f"k{i}"] for i, text in enumerate(texts))])
    return path


@pytest.mark.parametrize("ending", ["jsonl", "csv", "tsv", "parquet"])
def test_every_kind_of_table_gives_the_same_texts(tmp_path, ending) -> None:
    dataset = select_dataset(f"{write_table(tmp_path / f'data.{ending}', column='caption')}:text=caption,key=id")
    assert [dataset.text(row) for row in range(len(dataset))] == TEXTS
    assert dataset[1] == TextSample("k1", TEXTS[1])
    assert dataset.modalities == {"language"}


@pytest.mark.parametrize("ending", ["jsonl", "csv", "tsv", "parquet"])
def test_a_fingerprint_changes_with_the_data_and_with_nothing_else(tmp_path, ending) -> None:
    (tmp_path / "other").mkdir()
    first = select_dataset(str(write_table(tmp_path / f"a.{ending}"))).fingerprint
    same = select_dataset(str(write_table(tmp_path / "other" / f"b.{ending}"))).fingerprint
    changed = select_dataset(str(write_table(tmp_path / f"c.{ending}", [*TEXTS[:3], "vier äöu"]))).fingerprint
    assert first == same != changed


def test_a_part_and_a_shuffle_have_fingerprints_of_their_own(tmp_path) -> None:
    name = str(write_table(tmp_path / "a.jsonl", [f"text {i}" for i in range(20)]))
    parts = [select_dataset(name), select_dataset(name, 10), select_dataset(name, 10, 1), select_dataset(name, 10, 2)]
    assert len({part.fingerprint for part in parts}) == 4
    assert select_dataset(name, 10, 1).fingerprint == parts[2].fingerprint
    assert [parts[1].text(row) for row in range(3)] == ["text 0", "text 1", "text 2"]
    assert sorted(select_dataset(name, None, 3).text(row) for row in range(20)) == sorted(
        f"text {i}" for i in range(20)
    )


def test_a_list_of_texts_counts_as_several_captions(tmp_path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": ["first", "second"]}) + "\n")
    dataset = select_dataset(str(path))
    assert dataset.text(0, 1) == "second"
    with pytest.raises(DataError, match="2 texts, so none at index 2"):
        dataset.text(0, 2)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no rows"),
        ('{"text": 1}\n', "not a text"),
        ("{nonsense\n", "line 1: no JSON"),
        ("[1]\n", "expected an object"),
        ('{"other": "x"}\n', "unknown column 'text'.*choose with FILE:text=COLUMN"),
    ],
)
def test_a_malformed_table_is_explained(tmp_path, content, said) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(content)
    with pytest.raises(UsageError) as caught:
        select_dataset(str(path)).text(0)
    assert re.search(said, f"{caught.value.message} {caught.value.hint}")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("file_name;text\na.png;grün\n".encode(), "separate columns by commas"),
        ("file_name,text\na.png,grün\n".encode("latin-1"), "not UTF-8.*save it as UTF-8"),
    ],
)
def test_a_spreadsheet_in_another_notation_is_explained(tmp_path, content, said) -> None:
    picture(10).save(tmp_path / "a.png")
    path = tmp_path / "sheet.csv"
    path.write_bytes(content)
    for dataset in (str(path), f"{tmp_path}:captions={path}"):
        with pytest.raises(UsageError) as caught:
            resolve_dataset(dataset)
        assert re.search(said, f"{caught.value.message} {caught.value.hint}")


@pytest.mark.parametrize("named", [lambda name: name, lambda name: name.removesuffix(".png")])
def test_captions_in_the_order_of_the_images_may_not_name_others(tmp_path, named) -> None:
    for i, name in enumerate(("a.png", "b.png")):
        picture(10 * i).save(tmp_path / name)
    table = tmp_path / "captions.csv"
    table.write_text(f"image,text\n{named('a.png')},first\n{named('b.png')},second\n")
    assert select_dataset(f"{tmp_path}:captions={table}").text(1) == "second"
    table.write_text(f"image,text\n{named('b.png')},second\n{named('a.png')},first\n")
    with pytest.raises(DataError, match=r"row 1: column 'image' says 'b.*, but the image in its place is 'a.png'"):
        select_dataset(f"{tmp_path}:captions={table}")


def test_a_folder_that_is_not_there_is_not_taken_for_a_misspelt_name_alone() -> None:
    with pytest.raises(UsageError, match=r"unknown data set 'photo'.*no file or folder"):
        resolve_dataset("photo:captions=texts.csv")


def test_images_beside_a_table_stay_below_its_folder(tmp_path) -> None:
    picture(200).save(tmp_path / "a.png")
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"text": "red", "file": "a.png"}) + "\n" + json.dumps({"text": "x", "file": "../b.png"}))
    dataset = resolve_dataset(f"{path}:image=file")
    assert dataset.modalities == {"language", "vision"}
    assert isinstance(dataset[0], CaptionedImage)
    assert dataset.image(0).getpixel((0, 0))[0] == 200
    with pytest.raises(DataError, match="leads out of"):
        dataset.image(1)


def test_a_folder_gives_its_images_in_the_order_of_their_paths(tmp_path) -> None:
    (tmp_path / "b").mkdir()
    for name, colour in {"b/1.png": 10, "a.png": 20, "c.jpg": 30}.items():
        picture(colour).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    dataset = select_dataset(str(tmp_path))
    assert [dataset.key(row) for row in range(len(dataset))] == ["a.png", "b/1.png", "c.jpg"]
    assert isinstance(dataset[0], ImageSample)
    before = dataset.fingerprint
    picture(11).save(tmp_path / "b" / "1.png")
    assert select_dataset(str(tmp_path)).fingerprint != before


def test_captions_come_from_the_metadata(tmp_path) -> None:
    picture(10).save(tmp_path / "a.png")
    picture(20).save(tmp_path / "b.png")
    rows = [{"file_name": "b.png", "text": ["b", "B"], "origin": "here"}, {"file_name": "a.png", "text": ["a", "A"]}]
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    dataset = select_dataset(str(tmp_path))
    assert dataset[0].captions == ("b", "B")
    assert dataset[0].origin == "here"
    assert dataset.text(1, 1) == "A"


def test_the_fingerprint_of_a_folder_changes_with_a_caption(tmp_path) -> None:
    picture(10).save(tmp_path / "a.png")
    prints: list[str] = []
    for text in ("one", "one", "two"):
        (tmp_path / "metadata.jsonl").write_text(json.dumps({"file_name": "a.png", "text": text}) + "\n")
        prints.append(select_dataset(str(tmp_path)).fingerprint)
    assert prints[0] == prints[1] != prints[2]


def test_the_fingerprint_of_an_archive_changes_with_a_pixel_and_a_caption(tmp_path) -> None:
    contents = [(1, b"one"), (1, b"one"), (2, b"one"), (1, b"two")]
    prints = [
        select_dataset(str(write_tar(tmp_path / f"{i}.tar", {"x.png": png(colour), "x.txt": text}))).fingerprint
        for i, (colour, text) in enumerate(contents)
    ]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def test_the_embedded_worlds_fingerprint_changes_with_its_size_and_order() -> None:
    parts = [select_dataset("shapes", 8), select_dataset("shapes", 9), select_dataset("shapes", 8, 1)]
    assert len({part.fingerprint for part in parts}) == 3
    assert select_dataset("shapes", 8).fingerprint == parts[0].fingerprint


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [("A photo of {}.", "A photo of one."), ("{text}, {} times", "one, {} times"), (None, "one"), ("{}{}", "oneone")],
)
def test_a_prompt_stands_around_each_text(prompt, expected) -> None:
    assert texts_of(as_dataset(["one", "two"]), [0], (0,), prompt) == [expected]


def test_a_prompt_without_a_place_is_refused_and_captions_are_joined(tmp_path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": ["first", "second"]}) + "\n")
    dataset = select_dataset(str(path))
    assert texts_of(dataset, [0], (1, 0), "<{}>") == ["<second . first>"]
    with pytest.raises(UsageError, match="no place for the text"):
        texts_of(dataset, [0], (0,), "nothing")


def folder_and_texts(tmp_path, rows: list[dict]) -> str:
    (tmp_path / "photos").mkdir()
    for shade, name in enumerate(("b.png", "a.png")):
        picture(shade).save(tmp_path / "photos" / name)
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"{tmp_path / 'photos'}:captions={tmp_path / 'texts.jsonl'}"


def test_captions_of_a_folder_may_come_from_another_file_in_the_order_of_the_images(tmp_path) -> None:
    dataset = select_dataset(folder_and_texts(tmp_path, [{"say": "first"}, {"say": "second"}]) + ",text=say")
    assert [dataset[row].captions for row in range(2)] == [("first",), ("second",)]
    assert [dataset.key(row) for row in range(2)] == ["a.png", "b.png"]
    assert dataset.modalities == {"vision", "language"}


def test_captions_that_name_their_images_may_be_in_any_order(tmp_path) -> None:
    rows = [{"file_name": "b.png", "text": "B"}, {"file_name": "a.png", "text": "A"}]
    dataset = select_dataset(folder_and_texts(tmp_path, rows))
    assert [(dataset.key(row), dataset.text(row)) for row in range(2)] == [("b.png", "B"), ("a.png", "A")]


@pytest.mark.parametrize(
    ("rows", "error", "match"),
    [
        ([{"text": "one"}], DataError, "2 images and .* 1 rows"),
        ([{"caption": "one"}, {"caption": "two"}], UnknownNameError, "column 'text'"),
        ([], DataError, "has no rows"),
    ],
)
def test_captions_that_do_not_fit_the_images_are_refused(tmp_path, rows, error, match) -> None:
    with pytest.raises(error, match=match):
        select_dataset(folder_and_texts(tmp_path, rows))


def test_metadata_may_not_lead_out_of_the_folder(tmp_path) -> None:
    (tmp_path / "data").mkdir()
    picture(1).save(tmp_path / "secret.png")
    (tmp_path / "data" / "metadata.jsonl").write_text(json.dumps({"file_name": "../secret.png", "text": "x"}) + "\n")
    with pytest.raises(DataError, match="leads out of"):
        resolve_dataset(str(tmp_path / "data"))


def test_a_broken_image_is_named(tmp_path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(DataError, match=r"a\.png is no image"):
        resolve_dataset(str(tmp_path)).image(0)


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def png(colour: int) -> bytes:
    buffer = io.BytesIO()
    picture(colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_members_of_an_archive_with_one_name_are_one_sample(tmp_path) -> None:
    members = {"x/01.png": png(1), "x/01.txt": b"one", "x/02.png": png(2), "x/02.json": b'{"caption": ["two", "zwei"]}'}
    dataset = select_dataset(str(write_tar(tmp_path / "a.tar", members)))
    assert [dataset.key(row) for row in range(2)] == ["x/01", "x/02"]
    assert (dataset.text(0), dataset.text(1, 1)) == ("one", "zwei")
    assert dataset.image(1).getpixel((0, 0))[0] == 2
    assert dataset.modalities == {"language", "vision"}


def test_a_folder_of_archives_is_read_in_the_order_of_their_names(tmp_path) -> None:
    write_tar(tmp_path / "b.tar", {"2.txt": b"two"})
    write_tar(tmp_path / "a.tar", {"1.txt": b"one"})
    dataset = select_dataset(str(tmp_path))
    assert [dataset.text(row) for row in range(2)] == ["one", "two"]
    before = dataset.fingerprint
    write_tar(tmp_path / "b.tar", {"2.txt": b"TWO"})
    assert select_dataset(str(tmp_path)).fingerprint != before


@pytest.mark.parametrize("name", ["/etc/passwd.txt", "../../escape.txt"])
def test_a_member_that_leads_out_of_the_archive_is_refused(tmp_path, name) -> None:
    with pytest.raises(DataError, match="leads out of it"):
        resolve_dataset(str(write_tar(tmp_path / "a.tar", {name: b"x"})))


def test_what_is_no_archive_is_refused(tmp_path) -> None:
    (tmp_path / "a.tar").write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(DataError, match="no tar archive"):
        resolve_dataset(str(tmp_path / "a.tar"))


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("shaeps", UnknownNameError, "did you mean shapes"),
        ("nowhere/data.csv", DataError, "no file or folder"),
        ("some/hub-data", OfflineError, "has to be fetched"),
        ("minhuh/prh", OfflineError, "minhuh/prh has to be fetched"),
        ("prh:revision=wit_2048", UsageError, "wit_2048"),
        ("prh:subset=wit_1024", UnknownNameError, "unknown option"),
        ("prh:wit_1024", UsageError, "is no option"),
    ],
)
def test_what_cannot_be_opened_is_explained(text, error, said) -> None:
    with pytest.raises(error, match=said):
        resolve_dataset(text)


def test_lists_from_python_are_of_one_kind() -> None:
    assert as_dataset(["a", "b"]).modalities == {"language"}
    assert as_dataset([picture(1)]).modalities == {"vision"}
    assert as_dataset([picture(1)]).fingerprint != as_dataset([picture(2)]).fingerprint
    with pytest.raises(DataError, match="texts only"):
        as_dataset(["a", picture(1)])
    with pytest.raises(DataError, match="empty"):
        as_dataset([])
