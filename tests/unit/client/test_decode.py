"""JSON that is not quite JSON: it is read as far as it can be, and what comes out can be stored everywhere."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linq_client._decode import MAX_DEPTH, MAX_DIGITS, decode_json

HALF = "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (rb'{"a": "x\u0000y"}', {"a": f"x{HALF}y"}),
        (rb'{"a": [{"k\u0000": {"\u0000": 1}}]}', {"a": [{f"k{HALF}": {HALF: 1}}]}),
        (rb'"\u0000"', HALF),
        (
            rb'{"k\u0000": 1, "k\ud83d": 2, "k\ufffd": 3, "z\u0000": 4}',
            {f"k{HALF * 2}": 1, f"k{HALF * 3}": 2, f"k{HALF}": 3, f"z{HALF}": 4},
        ),
        (b'{"a": "x\x00y"}', {"a": f"x{HALF}y"}),
        (rb'{"a": "half \ud83d"}', {"a": f"half {HALF}"}),
        (rb'{"a": "\ude00\ud83d"}', {"a": HALF * 2}),
        (rb'{"\ud83d": "\ud83d\ude00"}', {HALF: "\N{GRINNING FACE}"}),
        (b'{"a": "\xed\xa0\xbd."}', {"a": f"{HALF}."}),
        (b'{"a": "\xed\xa0\xbd\xed\xb8\x80"}', {"a": "\N{GRINNING FACE}"}),
        (b'{"a": "\xed\xa0\xbd\\ude00"}', {"a": "\N{GRINNING FACE}"}),
        (b'{"a": "\\\\\xed\xa0\xbd"}', {"a": f"\\{HALF}"}),
        (b'{"a": "caf\xe9"}', {"a": f"caf{HALF}"}),
        (b'{"caf\xe9": 1}', {f"caf{HALF}": 1}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        ('{"a": "\N{GRINNING FACE}"}'.encode("utf-16"), {"a": "\N{GRINNING FACE}"}),
        (b'{"a": "one\ntwo\x01\tthree"}', {"a": "one\ntwo\x01\tthree"}),
        (b'{"a": [NaN, Infinity, -Infinity, 1.5]}', {"a": [None, None, None, 1.5]}),
        (b'{"a": %s, "b": 2}' % (b"9" * (MAX_DIGITS + 1)), {"a": None, "b": 2}),
        (b'{"a": %s.5, "b": 2}' % (b"9" * (MAX_DIGITS + 1)), {"a": None, "b": 2}),
        (b'{"a": "[[[\\"{", "b": %s%s, "c": [1]}' % (b"[" * 5000, b"]" * 5000), "deep"),
        (b'{"b": %s1%s, "a": "[[[\\"{", "c": [1]}' % (b'{"x": [' * 5000, b"]}" * 5000), "deep"),
    ],
)
def test_a_character_costs_no_more_than_itself(content: bytes, value: Any) -> None:
    decoded = decode_json(content)
    assert decoded.repaired
    if value == "deep":
        nested = decoded.value.pop("b")
        for _ in range(MAX_DEPTH - 1):
            (nested,) = nested.values() if isinstance(nested, dict) else nested
        assert nested is None
        value = {"a": '[[["{', "c": [1]}
    assert decoded.value == value


@pytest.mark.parametrize(
    "content",
    [b'{"a": "x"}', rb'{"a": "\\u0000"}', b"[]", b"1", b'{"a": 1e3}', '"\N{GRINNING FACE}\u2028\x7f"'.encode()],
)
def test_what_is_well_formed_is_not_touched(content: bytes) -> None:
    decoded = decode_json(content)
    assert not decoded.repaired
    assert decoded.value == json.loads(content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>503</html>",
        b"\xff\xfe",
        b'{"a": "cut sho',
        b'{"a": 1} and more',
        b"{'a': 1}",
        b'{"a": [[1}',
        b"[" * 100_000,
        b'{"a": "\\',
        b'{"a": undefined}',
    ],
)
def test_what_is_no_json_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="."):
        decode_json(content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters()), inner, max_size=4),
    max_leaves=20,
)


def assert_storable(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    assert "\\u0000" not in text.replace("\\\\", "")
    text.encode()


@given(value=JSON, as_ascii=st.booleans(), encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_what_any_encoder_of_json_writes_is_read_and_can_be_stored(value: Any, as_ascii: bool, encoding: str) -> None:
    content = json.dumps(value, ensure_ascii=as_ascii).encode(encoding, "surrogatepass")
    decoded = decode_json(content).value
    assert_storable(decoded)
    if isinstance(value, dict):
        assert isinstance(decoded, dict)


@settings(max_examples=300)
@given(
    texts=st.lists(st.text(max_size=8), min_size=1, max_size=5),
    odd=st.binary(min_size=1, max_size=3).filter(lambda piece: not {*b'"\\'} & {*piece}),
    at=st.integers(0, 4),
)
def test_odd_bytes_in_one_text_leave_the_others_as_they_are(texts: list[str], odd: bytes, at: int) -> None:
    at %= len(texts)
    pieces = [json.dumps(text, ensure_ascii=False).encode() for text in texts]
    pieces[at] = b'"' + odd + pieces[at][1:]
    decoded = decode_json(b"[" + b",".join(pieces) + b"]").value
    assert_storable(decoded)
    assert len(decoded) == len(texts)
    expected = [text.replace("\0", HALF) for text in texts]
    assert decoded[:at] + decoded[at + 1 :] == expected[:at] + expected[at + 1 :]
    assert decoded[at].endswith(expected[at])
