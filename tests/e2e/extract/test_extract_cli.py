"""``interp extract`` as a user runs it: resume after kills, corruption, wrong use (default tier; 20 kills in the slow tier)."""

import hashlib
import random
import signal
import time
from pathlib import Path

import pytest
from forked_cli import CommandLine

MODEL = "lm-d32"
N_SHARDS = 24


def store_digest(home: Path) -> dict[str, str]:
    """Digest of every stored shard and of what declares it complete."""
    files = sorted((home / "store" / "features").glob("*/*"))
    return {
        str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.name.startswith("shard-") or path.name == "DONE.json"
    }


def n_shards(home: Path) -> int:
    return len(list((home / "store" / "features").glob("*/shard-*.safetensors")))


def extraction(captions: Path, *more: object) -> list[object]:
    return ["extract", MODEL, "--dataset", captions, "--loss", "--shard-rows", 4, "--max-tokens", 64, *more]


@pytest.fixture(scope="session")
def uninterrupted(cli_server, captions, tmp_path_factory) -> dict[str, str]:
    """What an extraction stores that nobody interrupts."""
    home = tmp_path_factory.mktemp("uninterrupted") / "home"
    assert CommandLine(cli_server, home)(*extraction(captions)).code == 0
    return store_digest(home)


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_an_extraction_that_is_killed_goes_on_to_the_same_bytes(cli, captions, uninterrupted, kills) -> None:
    moments = random.Random(kills)
    in_the_middle = 0
    for _ in range(kills):
        done = n_shards(cli.home)
        wanted, delay = done + moments.randrange(2), moments.uniform(0, 0.03)
        extracting = cli.start(*extraction(captions))
        while extracting.poll() is None and n_shards(cli.home) < wanted:
            time.sleep(0.001)
        time.sleep(delay)
        extracting.send(signal.SIGKILL)
        answer = extracting.wait()
        assert answer.code in (-9, 0), answer.text
        assert n_shards(cli.home) >= done, "a shard that was written has gone"
        in_the_middle += 0 < n_shards(cli.home) < N_SHARDS
    assert in_the_middle >= kills // 2
    answer = cli(*extraction(captions))
    assert answer.code == 0, answer.text
    assert store_digest(cli.home) == uninterrupted


def test_a_flipped_bit_is_named_refused_and_repaired(cli, captions, uninterrupted) -> None:
    assert cli(*extraction(captions)).code == 0
    shard = sorted((cli.home / "store" / "features").glob("*/shard-*.safetensors"))[5]
    content = bytearray(shard.read_bytes())
    content[-100] ^= 1
    shard.write_bytes(content)
    refused = cli(*extraction(captions))
    assert refused.code == 3
    assert shard.name in refused.err
    assert "--repair" in refused.err
    repaired = cli(*extraction(captions, "--repair"))
    assert repaired.code == 0, repaired.text
    assert store_digest(cli.home) == uninterrupted


def test_what_is_stored_is_not_computed_again(cli, captions) -> None:
    first = cli(*extraction(captions), "--json").json
    again = cli(*extraction(captions), "--json").json
    assert (first["scalars"]["extracted"], first["scalars"]["present"]) == (1, 0)
    assert (again["scalars"]["extracted"], again["scalars"]["present"]) == (0, 1)
    assert again["features"] == first["features"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["lm-d46"], 2, "did you mean"),
        (["vit_tiny_patch16_224.augreg_in21"], 2, "did you mean"),
        ([], 2, "no model was named"),
        (["lm-d32", "--pool", "averge"], 2, "did you mean"),
        (["lm-d32", "--pool", "patch-avg"], 2, "no patches"),
        (["lm-d32", "--layers", "7"], 2, "it has 0, 1"),
        (["lm-d32", "--caption", "3"], 2, "texts"),
        (["lm-d32", "--prompt", "no place"], 2, "no place for the text"),
        (["vit-d32", "--dataset", "{captions}"], 2, "reads images"),
        (["lm-d32", "--dataset", "{empty}"], 2, "no rows"),
        (["lm-d32", "--dataset", "captoins.jsonl"], 2, "no file or folder"),
        (["lm-d32", "--dataset", "shaeps"], 2, "did you mean shapes"),
        (["lm-d32", "--dataset", "{captions}:text=caption"], 2, "column"),
        (["lm-d32", "--limit", "0"], 2, "at least 1"),
        (["lm-d32", "--modelset", "vall"], 2, "did you mean val"),
        (["some/model-of-the-hub"], 1, "hub cannot be"),
        (["lm-d32", "--dataset", "prh"], 1, "has to be fetched"),
        (["vit-d32", "--quantize", "4bit", "--dataset", "shapes"], 2, "neither quantised"),
    ],
)
def test_wrong_use_is_one_clear_message(cli, captions, tmp_path, arguments, code, said) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    words = [str(word).format(captions=captions, empty=empty) for word in arguments]
    if "--dataset" not in words:
        words += ["--dataset", str(captions)]
    answer = cli("extract", *words)
    assert said in " ".join(answer.err.split()), answer.text
    assert "Traceback" not in answer.text
    assert answer.code == code


def test_a_model_that_cannot_be_had_does_not_stop_the_others(cli, captions) -> None:
    answer = cli("extract", "some/model-of-the-hub", MODEL, "--dataset", captions, "--json")
    assert answer.code == 3
    assert answer.json["scalars"]["extracted"] == 1
    assert [failure["item"] for failure in answer.json["failures"]] == ["some/model-of-the-hub"]


def test_a_dry_run_computes_nothing_and_says_what_it_would_cost(cli, captions) -> None:
    answer = cli(*extraction(captions, "--dry-run"))
    assert answer.code == 0, answer.text
    assert "parameters" in answer.out
    assert n_shards(cli.home) == 0
