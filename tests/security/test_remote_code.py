"""Models that bring code, or that lie: nothing runs unless the user says so, and then it is recorded."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from interp_cli.__main__ import run as interp
from interp_plugins.embedded import zoo
from interp_plugins.models.config import LoadOptions
from interp_plugins.models.resolve import load_model, resolve_model
from interp_registry.errors import InterpError, UsageError
from interp_registry.stores.home import layout
from interp_registry.stores.records import read_record
from interp_registry.stores.run import RunStore

CODE = """
import pathlib
pathlib.Path({mark!r}).write_text("ran")
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, ViTImageProcessorPil
class OwnConfig(LlamaConfig):
    model_type = "own"
class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig
class OwnTokenizer(PreTrainedTokenizerFast):
    pass
class OwnProcessor(ViTImageProcessorPil):
    pass
"""
MODEL = {
    "auto_map": {"AutoConfig": "code.OwnConfig", "AutoModel": "code.OwnModel", "AutoModelForCausalLM": "code.OwnModel"},
    "model_type": "own",
}
ELSEWHERE = {"auto_map": {"AutoConfig": "other/repository--code.OwnConfig"}, "model_type": "own"}
TOKENIZER = {"auto_map": {"AutoTokenizer": [None, "code.OwnTokenizer"]}, "tokenizer_class": "OwnTokenizer"}
PROCESSOR = {"auto_map": {"AutoImageProcessor": "code.OwnProcessor"}, "image_processor_type": "OwnProcessor"}


class Mark:
    """Says whether the code of a model ran."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def made(self) -> bool:
        """Whether it did."""
        return self.path.exists()


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mark:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question was asked"))
    return Mark(tmp_path / "executed")


def brought(mark: Mark, **files: dict[str, Any]) -> Path:
    """A folder with the language model of the zoo, changed settings in its files, and code beside them."""
    folder = mark.path.with_name("model")
    shutil.copytree(Path(str(zoo.folder("lm-d32"))), folder)
    (folder / "code.py").write_text(CODE.format(mark=str(mark.path)))
    for name, changes in files.items():
        path = folder / f"{name}.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return folder


def vision_model(mark: Mark) -> Path:
    from transformers import ViTConfig, ViTImageProcessor, ViTModel
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    folder = mark.path.with_name("model")
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    ViTModel(ViTConfig(**small, image_size=32, patch_size=8)).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    (folder / "code.py").write_text(CODE.format(mark=str(mark.path)))
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **PROCESSOR}))
    return folder


BROUGHT: dict[str, Callable[[Mark], Path]] = {
    "model": lambda mark: brought(mark, config=MODEL),
    "model of another repository": lambda mark: brought(mark, config=ELSEWHERE),
    "tokenizer": lambda mark: brought(mark, tokenizer_config=TOKENIZER),
    "image processor": vision_model,
    "attention of another repository": lambda mark: brought(mark, config={"_attn_implementation": "evil/kernel"}),
}


@pytest.mark.parametrize("name", BROUGHT)
@pytest.mark.parametrize("untrained", [False, True])
def test_code_is_not_run_unasked_and_no_question_is_put(mark: Mark, name: str, untrained: bool):
    folder = BROUGHT[name](mark)
    with pytest.raises(UsageError, match="brings code of its own, which is not run") as caught:
        load_model(str(folder), LoadOptions(untrained=untrained))
    assert "add --trust-remote-code" in str(caught.value.hint)
    assert not mark.made


@pytest.mark.parametrize("name", ["model", "tokenizer", "image processor"])
def test_code_is_run_when_the_user_says_so(mark: Mark, name: str):
    load_model(str(BROUGHT[name](mark)), LoadOptions(trust_remote_code=True))
    assert mark.made


def test_what_was_trusted_stands_in_the_manifest_the_run_and_the_key(mark: Mark):
    folder = brought(mark, tokenizer_config=TOKENIZER)
    shutil.copytree(Path(str(zoo.folder("lm-d32"))), plain := mark.path.with_name("plain"))
    for model, more in ((folder, ["--trust-remote-code"]), (plain, ["--trust-remote-code"]), (plain, [])):
        assert interp(["extract", str(model), "--limit", "2", "--no-report", "--progress", "none", *more]) == 0
    entries = [read_record(path) for path in (layout().store / "features").glob("*/manifest.json")]
    told = sorted((entry["request"]["model"], "trust_remote_code" in entry["request"]["options"]) for entry in entries)
    assert told == [(str(folder), True), (str(plain), False), (str(plain), True)]
    runs = list(RunStore(layout().runs).runs())
    assert [run.config["model"]["trust_remote_code"] for run in runs] == [True, True, False]


class Executed:
    """What a pickle that runs code looks like."""

    def __init__(self, mark: Mark) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark.path),)


def pickled(mark: Mark, zoo_model: str) -> Path:
    folder = mark.path.with_name("model")
    shutil.copytree(Path(str(zoo.folder(zoo_model))), folder)
    (folder / "model.safetensors").unlink()
    torch.save({"weight": Executed(mark)}, folder / "pytorch_model.bin")
    return folder


def indexed(mark: Mark, place: str) -> Path:
    folder = brought(mark)
    shutil.move(folder / "model.safetensors", mark.path.with_name("elsewhere.safetensors"))
    with safe_open(mark.path.with_name("elsewhere.safetensors"), "pt") as file:
        weights = dict.fromkeys(file.keys(), place.format(mark.path.parent))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weights}))
    return folder


def with_file(name: str, content: bytes) -> Callable[[Mark], Path]:
    def make(mark: Mark) -> Path:
        folder = brought(mark)
        (folder / name).write_bytes(content)
        return folder

    return make


LIES: dict[str, tuple[Callable[[Mark], Path], str]] = {
    "pickled weights": (lambda mark: pickled(mark, "lm-d32"), "without executing what is in its weights"),
    "pickled weights of timm": (lambda mark: pickled(mark, "vit-d32"), "without executing what is in its weights"),
    "weights next door": (lambda mark: indexed(mark, "../elsewhere.safetensors"), "must lie beside it"),
    "weights anywhere": (lambda mark: indexed(mark, "{}/elsewhere.safetensors"), "must lie beside it"),
    "an index that is none": (with_file("model.safetensors.index.json", b"[" * 100_000), "no index of weights"),
    "settings that are a number": (with_file("config.json", b"3"), "holds a int"),
    "settings without end": (with_file("config.json", b"[" * 100_000), "cannot be read"),
    "a type that is a path": (with_file("config.json", b'{"model_type": "../../x"}'), "cannot be loaded"),
    "a negative width": (lambda mark: brought(mark, config={"hidden_size": -3}), "cannot be loaded"),
    "a width that is a word": (lambda mark: brought(mark, config={"hidden_size": "x"}), "cannot be loaded"),
    "a width of a milliard": (lambda mark: brought(mark, config={"hidden_size": 10**9}), "GiB of memory"),
    "a tokenizer without end": (with_file("tokenizer.json", b"[" * 100_000), "cannot be loaded"),
    "weights that lie": (with_file("model.safetensors", b"\xff" * 100), "cannot be loaded"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_model_that_lies_is_refused_in_one_message(mark: Mark, name: str):
    make, expected = LIES[name]
    folder = make(mark)

    def use() -> None:
        assert resolve_model(str(folder)).revision
        load_model(str(folder))

    with pytest.raises(InterpError) as caught:
        use()
    assert expected in str(caught.value)
    assert not mark.made
