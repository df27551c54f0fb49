"""Data sets and feature files that nobody would write: nothing is started or executed, and what is wrong is named."""

import gzip
import io
import json
import os
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import EpsImagePlugin, Image

from interp_cli.__main__ import run as interp
from interp_plugins.datasets.paths import inside
from interp_plugins.datasets.resolve import select_dataset
from interp_plugins.embedded import zoo
from interp_plugins.methods.align.reading import load_features
from interp_registry.discovery import discover
from interp_registry.errors import DataError
from interp_registry.stores.home import layout


@pytest.fixture(autouse=True)
def plugins() -> None:
    """What a user's word for a data set can mean."""
    discover()


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(x) run\n"
IMAGES = {
    "PostScript": EPS,
    "a bomb": png(30_000, 30_000),
    "a bomb of text": b"P6 99999 99999 255\n",
    "no pixels": png(0, 0),
    "cut off": png(32, 32)[:40],
    "empty": b"",
    "a broken GIF": b"GIF89a" + b"\xff" * 50,
    "a broken WebP": b"RIFF\xff\xff\xff\xffWEBPVP8 " + b"\xff" * 30,
}


def tar(members: dict[str, bytes], path: Path, size: int | None = None) -> Path:
    """A tar archive; ``size`` is what the header of its only member says, whatever it has."""
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    if size is not None:
        data = bytearray(path.read_bytes())
        data[124:136] = bytes([0xFF if size < 0 else 0x80]) + (size % 256**11).to_bytes(11, "big")
        data[148:156] = b"%06o\0 " % (sum(data[:148]) + 256 + sum(data[156:512]))
        path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_that_is_none_is_refused_wherever_it_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_args, **_options: pytest.fail("a program was started"))
    (tmp_path / "folder" / "class").mkdir(parents=True)
    (tmp_path / "folder" / "class" / "a.png").write_bytes(IMAGES[name])
    (tmp_path / "split").mkdir()
    (tmp_path / "split" / "nshards.txt").write_text("1")
    tar({"a.png": IMAGES[name], "a.txt": b"a red dog runs"}, tmp_path / "split" / "0.tar")
    words = (tmp_path / "folder", tmp_path / "split" / "0.tar")
    for word in words:
        with pytest.raises(DataError, match="no image that can be read"):
            select_dataset(str(word))[0]
    from interp_plugins.datasets.image_text.config import LabelledFolder, WebDatasetTars

    for config in (LabelledFolder(folder=tmp_path / "folder"), WebDatasetTars(folder=tmp_path, split="split")):
        with pytest.raises(DataError, match="no image that can be read"):
            config.build()[0]


def test_a_picture_is_what_its_bytes_say_and_an_image_may_be_a_link(tmp_path: Path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "b.jpg").symlink_to(tmp_path / "a.png")
    data = select_dataset(str(tmp_path / "links"))
    assert data[0].image.size == (4, 4)
    assert data.key(0) == "b.jpg"
    assert len(data.fingerprint) == 64


@pytest.mark.parametrize("name", ["../a.png", "/etc/passwd", "a\0.png", "x" * 300, "\udcff\0", "a/../../b"])
def test_a_name_in_data_stays_in_its_folder(tmp_path: Path, name: str):
    with pytest.raises(DataError, match=r"leads out of|cannot be the name of a file"):
        inside(tmp_path, name)


@pytest.mark.parametrize("name", ["", "b.png", "\udcff"])
def test_a_table_names_images_that_are_there(tmp_path: Path, name: str):
    (tmp_path / "metadata.jsonl").write_text(json.dumps({"file_name": name, "text": "a dog"}) + "\n")
    with pytest.raises(DataError, match="row 1: there is no image"):
        select_dataset(f"{tmp_path}:captions={tmp_path / 'metadata.jsonl'}")


def flipped_parquet() -> bytes:
    target = io.BytesIO()
    pq.write_table(pa.table({"text": ["a b", "c d"]}), target)
    data = bytearray(target.getvalue())
    data[10:60] = b"\xff" * 50
    return bytes(data)


TABLES = {
    "a.jsonl": [
        b'{"text": ' + b"[" * 100_000, b'{"text":' + b"1" * 5000, b"[1]\n", b'{"text": 3}\n', b'{"text": "\\ud800 dog"}\n', b"\xff\xfe",
    ],
    "a.csv": [b"text\n" + b"a" * 200_000 + b"\n", b"\xff\xfe", b"text\na dog, running\n", b"a\n1,2\n"],
    "a.parquet": [b"", b"PAR1" + b"\xff" * 100 + b"PAR1", flipped_parquet()],
}  # fmt: skip
ARCHIVES = {
    "leads out": ({"../../a.txt": b"x"}, None),
    "absolute": ({"/a.txt": b"x"}, None),
    "less than nothing": ({"a.txt": b"x"}, -512),
    "much less than nothing": ({"a.txt": b"x"}, -(1 << 40)),
    "an exabyte": ({"a.txt": b"x"}, 1 << 60),
    "more than there is": ({"a.txt": b"x"}, 200 << 20),
    "a number": ({"a.json": b"3"}, None),
    "a caption that is a number": ({"a.json": b'{"caption": 3}'}, None),
    "half a character": ({"a.json": b'{"caption": "\\udcff"}'}, None),
    "a text that is none": ({"a.txt": b"\xff"}, None),
    "a torn record": ({"a.json": b'{"caption": "a d'}, None),
    "a record that is no text": ({"a.json": b"\xd6"}, None),
}


@pytest.mark.parametrize(
    ("name", "content"), [(name, data) for name, all_ in TABLES.items() for data in all_], ids=range(13)
)
def test_a_table_that_is_none_is_named(tmp_path: Path, name: str, content: bytes):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=name):
        select_dataset(str(tmp_path / name)).text(0)


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_that_lies_is_named(tmp_path: Path, name: str):
    members, size = ARCHIVES[name]
    path = tar(members, tmp_path / "a.tar", size)
    with pytest.raises(DataError, match=r"a\.tar|'a'"):
        select_dataset(str(path)).text(0)


CAPTIONS = {
    "no cell.csv": b"image,caption\na.png\n",
    "too many cells.csv": b"image,caption\na.png,a dog, running\n",
    "no UTF-8.csv": b"image,caption\na.png,\xff\xfe\n",
    "torn.jsonl": b'{"image": "a.png", "capt',
    "a number.jsonl": b"3\n",
    "half a character.jsonl": b'{"image": "a.png", "caption": "a \\udcff dog"}\n',
    "a number.json": b"3",
    "numbers.json": b"[3]",
}


@pytest.mark.parametrize("name", CAPTIONS)
def test_a_file_of_captions_that_is_none_is_named(tmp_path: Path, name: str):
    from interp_plugins.datasets.image_text.config import CaptionedFiles

    (tmp_path / name).write_bytes(CAPTIONS[name])
    with pytest.raises(DataError, match=Path(name).stem):
        CaptionedFiles(file=tmp_path / name).build()


@pytest.mark.parametrize(("member", "content"), [("a.txt", b"a dog \xff"), ("a.cls", b"one")])
def test_a_caption_or_class_in_a_tar_that_is_none_is_named(tmp_path: Path, member: str, content: bytes):
    from interp_plugins.datasets.image_text.config import WebDatasetTars

    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "nshards.txt").write_text("1")
    tar({"a.png": png(4, 4), member: content}, tmp_path / "test" / "0.tar")
    with pytest.raises(DataError, match="'0/a'"):
        WebDatasetTars(folder=tmp_path).build()


def test_captions_of_a_folder_of_images_are_utf_8(tmp_path: Path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "metadata.jsonl").write_bytes(b'{"file_name": "a.png", "text": "\xff"}\n')
    with pytest.raises(DataError, match=r"metadata\.jsonl is not UTF-8"):
        select_dataset(str(tmp_path))


def test_a_compressed_archive_is_not_unpacked(tmp_path: Path):
    (tmp_path / "a.tar").write_bytes(gzip.compress(bytes(1 << 24)))
    with pytest.raises(DataError, match="unpack"):
        select_dataset(str(tmp_path / "a.tar"))


class Executed:
    """What a pickle that runs code looks like."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def npy(shape: tuple[int, ...], descr: object = "<f4") -> bytes:
    head = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode()
    head += b" " * (63 - (10 + len(head)) % 64) + b"\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(head)) + head


def npz(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../evil.npy", npy((1 << 40, 1 << 10)))


def objects(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.array([Executed(path.with_name("executed"))], dtype=object))


def torn_npz(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("feats.npy", npy((8, 2, 4)) + bytes(256))
    data = bytearray(path.read_bytes())
    start = data.index(b"feats.npy") + len("feats.npy")
    data[start : start + 8] = b"\xff" * 8
    path.write_bytes(data)


def expanded(path: Path) -> None:
    torch.save({"feats": torch.zeros(1).expand(1 << 20, 1 << 10, 1 << 10)}, path)


FEATURES: dict[str, Callable[[Path], object]] = {
    "objects.npy": objects,
    "petabytes.npy": lambda path: path.write_bytes(npy((1 << 40, 1 << 10))),
    "deep.npy": lambda path: path.write_bytes(b"\x93NUMPY\x01\0" + struct.pack("<H", 9000) + b"(" * 9000),
    "text.npy": lambda path: path.write_bytes(npy((2, 2), "<U4") + bytes(64)),
    "petabytes.npz": npz,
    "torn.npz": torn_npz,
    "no.npz": lambda path: path.write_bytes(b"PK\x03\x04" + b"\xff" * 100),
    "code.pt": lambda path: torch.save({"feats": torch.ones(8, 2, 4), "x": Executed(path.with_name("executed"))}, path),
    "terabytes.pt": expanded,
    "meta.pt": lambda path: torch.save({"feats": torch.zeros(8, 2, 4, device="meta")}, path),
    "word.pt": lambda path: torch.save({"feats": torch.ones(8, 2, 4), "loss": "x"}, path),
    "huge.pt": lambda path: torch.save({"feats": torch.ones(8, 2, 4), "num_params": 10**400}, path),
    "lying.safetensors": lambda path: path.write_bytes(b"\xff" * 8 + b"{}"),
    "lying.parquet": lambda path: path.write_bytes(b"PAR1" + b"\xff" * 100 + b"PAR1"),
}


@pytest.mark.parametrize("name", FEATURES)
def test_a_file_of_features_that_lies_is_named_and_not_executed(tmp_path: Path, name: str):
    FEATURES[name](tmp_path / name)
    with pytest.raises(DataError):
        load_features(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]


IMPORTED = {
    "code.pt": {"x": None},
    "loss.pt": {"loss": torch.zeros(3, 2)},
    "word.pt": {"bpb": "x"},
    "nan.pt": {"loss": float("nan")},
    "huge.pt": {"num_params": 10**400},
    "empty.pt": {"feats": torch.zeros(8, 0, 4)},
    "terabytes.pt": {"feats": torch.zeros(1).expand(1 << 20, 1 << 10, 1 << 10)},
}


def test_an_import_takes_what_is_whole_whatever_its_name_and_nothing_half(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    folder = tmp_path / "data" / "subset"
    folder.mkdir(parents=True)
    for name, content in IMPORTED.items():
        made = {key: Executed(tmp_path / "executed") if value is None else value for key, value in content.items()}
        torch.save({"feats": torch.zeros(8, 2, 4), **made}, folder / name)
    good = ("a\nb.pt", "..\udcff.pt", "a_b.pt", "a-b.pt", "\x1b]0;owned\x07.pt", "\u0430.pt", "a.pt")
    for name in good:
        torch.save({"feats": torch.zeros(8, 2, 4)}, folder / name)
    assert interp(["import", "platonic-pt", str(folder)]) == 3
    said = capfd.readouterr()
    assert said.err.count("failed") == len(IMPORTED)
    assert "it asks for posix.mkdir" in said.err
    assert not {char for char in said.out + said.err if not char.isprintable()} - {"\n"}
    entries = sorted((layout().store / "features").iterdir())
    assert len(entries) == len(good)
    assert all((entry / "DONE.json").is_file() for entry in entries)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("path", ["num_hidden_layers", "text_config.num_hidden_layers"])
def test_a_model_that_states_millions_of_blocks_is_refused_before_they_are_built(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], path: str
):
    model = tmp_path / "model"
    shutil.copytree(zoo.folder("clip-bow" if "text" in path else "lm-d32"), model)
    content = json.loads((model / "config.json").read_text())
    *outer, name = path.split(".")
    part = content[outer[0]] if outer else content
    part[name] = 10_000_000
    (model / "config.json").write_text(json.dumps(content))
    assert interp(["extract", str(model), "--limit", "2", "--no-report", "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert "config.json states 10000000 blocks" in message
    assert "Traceback" not in message
