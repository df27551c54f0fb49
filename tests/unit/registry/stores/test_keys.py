"""Keys of requests: readable, collision-free, harmless."""

import hashlib
import json

import pytest

from interp_registry.errors import UsageError
from interp_registry.stores.keys import canonical_json, digest_of, key_of, slug


def test_canonical_json_is_the_same_for_any_order_and_for_tuples():
    assert (
        canonical_json({"b": (1, 2), "a": None}) == canonical_json({"a": None, "b": [1, 2]}) == b'{"a":null,"b":[1,2]}'
    )


@pytest.mark.parametrize("value", [{1: "a"}, {"a": [{2: 3}]}, float("nan"), {"a": object()}, {"a": {1, 2}}, b"x"])
def test_values_that_json_cannot_tell_apart_or_hold_are_refused(value):
    with pytest.raises(UsageError):
        canonical_json(value)


def test_the_digest_is_plain_sha256_of_the_canonical_text():
    value = {"x": 1.5, "y": "é"}
    text = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    assert digest_of(value) == hashlib.sha256(text).hexdigest()


def test_numbers_of_different_types_are_different_requests():
    assert len({digest_of({"x": value}) for value in (1, 1.0, True, "1")}) == 4


@pytest.mark.parametrize(
    ("name", "readable"),
    [
        ("bigscience/bloomz-560m", "bigscience-bloomz-560m"),
        ("../../etc/passwd", "etc-passwd"),
        ("/", "unnamed"),
        ("", "unnamed"),
        ("..", "unnamed"),
        (".hidden", "hidden"),
        ("-rf", "rf"),
        ("a\x00b\nc", "a-b-c"),
        ("vit_tiny_patch16_224.augreg_in21k", "vit_tiny_patch16_224.augreg_in21k"),
    ],
)
def test_a_slug_keeps_what_is_readable_and_harmless(name: str, readable: str):
    assert slug(name) == readable


def test_names_with_one_slug_have_different_keys():
    names = ["a/b", "a_b", "a-b", "a b", "a\\b", "a//b", "a/b/", "а/b"]  # noqa: RUF001 - a look-alike on purpose
    assert len({key_of(name, {}) for name in names}) == len(names)


def test_a_key_is_short_whatever_the_name():
    assert len(key_of("x" * 300, {})) <= 97
    assert key_of("x" * 300, {}) != key_of("x" * 301, {})
