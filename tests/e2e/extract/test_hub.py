"""What the hub refuses is one line per model, the others go on, and no token is left anywhere (slow tier: two processes)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_models
from fake_hub import FakeHub, fake_hub
from small_disk import small_disk
from transformers import AutoModelForCausalLM

pytestmark = pytest.mark.slow

CANARY = "hf_canaryCanaryCanaryCanaryCanaryCanary"
REFUSALS = {
    "fake/gated": (403, "GatedRepo"),
    "fake/gated-without-login": (401, "GatedRepo"),
    "fake/private": (401, "RepoNotFound"),
    "fake/bare-401": (401, ""),
    "fake/forbidden": (403, ""),
    "fake/missing": (404, "RepoNotFound"),
    "fake/gone": (410, ""),
}
SAID = {
    "fake/gated": "is gated",
    "fake/gated-without-login": "is gated",
    "fake/private": "may not read it",
    "fake/bare-401": "may not read it",
    "fake/forbidden": "may not read it",
    "fake/missing": "no repository",
    "fake/gone": "status 410",
    "fake/empty": "config.json",
    "fake/large": "GiB of memory",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_models.build(AutoModelForCausalLM, tiny_models.language_config("gpt2")).save_pretrained(folder)
    tiny_models.tokenizer().save_pretrained(folder)
    return folder


def extract(hub: FakeHub, home: Path, captions: Path, names: list[str], **env: str) -> subprocess.CompletedProcess[str]:
    """The command as a process of its own: the hub's address is read when its library is imported."""
    words = [sys.executable, "-m", "interp_cli", "extract", *names, "--dataset", str(captions), "--json"]
    own = {"INTERP_HOME": str(home / "interp"), "HF_HOME": str(home / "hf"), "HF_ENDPOINT": hub.address}
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "0", "NO_PROXY": "127.0.0.1"} | own | env
    return subprocess.run(words, env=settings, capture_output=True, text=True, check=False)


def failures(answer: subprocess.CompletedProcess[str]) -> dict[str, str]:
    return {failure["item"]: failure["message"] for failure in json.loads(answer.stdout)["failures"]}


def test_each_refusal_is_one_line_and_the_others_go_on_and_no_token_is_left(model, captions, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    large = tmp_path / "large"
    large.mkdir()
    content = json.loads((model / "config.json").read_text()) | {"n_embd": 65536, "n_head": 64, "n_layer": 96}
    (large / "config.json").write_text(json.dumps(content))
    with fake_hub() as hub:
        hub.folders |= {"fake/tiny": model, "fake/empty": tmp_path / "empty", "fake/large": large}
        hub.refusals |= REFUSALS
        answer = extract(hub, tmp_path, captions, ["fake/tiny", *SAID, "lm-d32"], HF_TOKEN=CANARY)
        assert f"Bearer {CANARY}" in hub.tokens
    assert answer.returncode == 3, answer.stderr
    said = failures(answer)
    assert said.keys() == SAID.keys()
    for name, words in SAID.items():
        assert words in said[name], (name, said[name])
        assert "\n" not in said[name]
    assert [row["model"] for row in json.loads(answer.stdout)["features"]] == ["fake/tiny", "lm-d32"]
    assert "Traceback" not in answer.stderr
    assert CANARY not in answer.stdout + answer.stderr
    written = [path for path in (tmp_path / "interp").rglob("*") if path.is_file()]
    assert len(written) > 5
    assert not any(CANARY.encode() in path.read_bytes() for path in written)


def test_without_a_token_and_with_a_full_disk_it_says_so(model, captions, tmp_path) -> None:
    with fake_hub() as hub, small_disk(tmp_path / "disk") as disk:
        hub.folders["fake/tiny"] = model
        hub.refusals |= REFUSALS
        disk.fill(60_000)
        home = {"HF_HOME": str(disk.path / "hf")}
        answer = extract(hub, tmp_path, captions, ["fake/tiny", "fake/private", "lm-d32"], HF_TOKEN="", **home)
        assert hub.tokens == {""}
    assert answer.returncode == 3, answer.stderr
    assert "the disk is full" in failures(answer)["fake/tiny"]
    assert "there is no access token" in failures(answer)["fake/private"]
    assert "Traceback" not in answer.stderr
