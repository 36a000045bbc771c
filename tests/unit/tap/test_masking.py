"""Masking: no byte of a person's handle or text goes out, wherever in a record it stands."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from random import Random
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linq_client import InvalidRequestError
from tap_linq import schemas
from tap_linq.extraction import mask_rules
from tap_linq.extraction.conform import Conformer
from tap_linq.extraction.masking import Masking
from tap_linq.settings import Settings
from tap_linq.tap import TapLinq

KEY = "a-key-of-thirty-two-characters-or-more"
LINE, PERSON = "+12025550101", "+12025550123"
NUMBER_FORMS = (PERSON, PERSON[1:], "+1 202 555 0123", "202-555-0123", quote(PERSON), f"tel:{PERSON}", "(202) 5550123")
TEXT_FORMS = ("my secret", "my%20secret", "<b>my secret</b>", "my\nsecret", "0 my secret")
#: What no output may hold, as digits alone and as letters alone.
DIGITS, LETTERS = "2025550123", "mysecret"


def masking(*, handles: bool = True, text: str | None = "drop", key: str = KEY) -> Masking:
    return Masking(key, handles=handles, text=text, own_lines=lambda: {LINE})


NAMES = st.sampled_from(sorted(mask_rules.KNOWN)) | st.sampled_from(("unheard_of", PERSON, "my secret"))
STRINGS = (*NUMBER_FORMS, *TEXT_FORMS)
ANYTHING = st.recursive(
    st.sampled_from(STRINGS),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


def filled(schema: dict[str, Any], values: list[Any], chance: Random) -> Any:
    """A value that mostly fits a schema, with what is to be masked in all strings, and these values here and there."""
    types = schema.get("type", [])
    if schema.get("properties"):
        known = {name: one for name, one in schema["properties"].items() if name != "_extra"}
        known["unheard_of"] = {"type": ["object"]}
        return {
            name: filled(one, values, chance) if chance.random() < 0.5 else chance.choice(values)
            for name, one in known.items()
            if chance.random() < 0.5
        }
    if "array" in types:
        return [filled(schema["items"], values, chance) for _ in range(chance.randint(0, 2))]
    return chance.choice(values if "object" in types else STRINGS)


STREAMS = {name: getattr(schemas, name) for name in schemas.__all__}
MASKS = {text: masking(text=text) for text in ("drop", "encrypt")}
CONFORMERS = {stream: Conformer(schema, lambda _: True) for stream, schema in STREAMS.items()}


# Hypothesis draws what stands in all records of an example: to let it draw each of their fields takes ten times longer.
@settings(max_examples=120)
@given(st.lists(ANYTHING, min_size=3, max_size=3), st.randoms(use_true_random=True), st.sampled_from(sorted(MASKS)))
def test_no_output_holds_a_handle_or_a_text(values: list[Any], chance: Random, text: str) -> None:
    for stream, schema in STREAMS.items():
        # Without a key that fits, a record is left out, and nothing of it is seen.
        keys = {
            name: 0 if "integer" in schema["properties"][name]["type"] else PERSON
            for name in schema.get("required", ())
        }
        fitting = CONFORMERS[stream].conform([{"_extra": None, **filled(schema, values, chance), **keys}])
        assert len(fitting) == 1
        out = json.dumps(MASKS[text].mask(fitting), ensure_ascii=False)
        if text == "encrypt":
            out = re.sub(r'"gAAAA[\w=-]+"', "null", out)
        for value in re.findall(r'"(?:[^"\\]|\\.)*"', out):
            assert DIGITS not in re.sub(r"\D|%2B", "", value) or re.fullmatch(r'"[0-9a-f]{64}"', value), stream
            assert LETTERS not in re.sub(r"[^a-z]|%20|\\n", "", value), stream


def test_every_text_that_a_schema_declares_has_a_rule() -> None:
    for stream, schema in STREAMS.items():
        for name, one in mask_rules._declared(schema):
            if {"string"} & {*one.get("type", ()), *one.get("items", {}).get("type", ())}:
                assert name in mask_rules.KNOWN, (stream, name)


def test_the_form_of_a_digest() -> None:
    expected = hmac.new(KEY.encode(), b"ann@example.com", hashlib.sha256).hexdigest()
    assert expected == "c150f640b62d2a6df2cf07e9ea128b06adaef38591bf53d1b476c29d6ce5e583"
    mask = masking()
    (row,) = mask.mask([{"handle": "Ann@Example.com", "from_handle": {"handle": "ANN@EXAMPLE.COM"}, "line": LINE}])
    assert row == {"handle": expected, "from_handle": {"handle": expected}, "line": LINE}
    (other,) = masking(key=KEY[::-1]).mask([{"handle": "ann@example.com"}])
    assert other["handle"] != expected
    assert masking(key=KEY[::-1]).fingerprint != mask.fingerprint != masking(text=None).fingerprint


def test_what_identifies_nobody_stays() -> None:
    row = {
        "id": "8d3c8a51-2f0e-4f6e-9d5b-1c2d3e4f5a6b",
        "event_type": "message.received",
        "mime_type": "application/vnd.ms-excel",
        "webhook_version": "2026-02-03",
        "created_at": "2026-03-01T12:00:00Z",
        "is_from_me": False,
        "size_bytes": 12,
        "phone_numbers": [LINE],
        "data": {"chat": {"is_group": True}, "parts": [{"type": "text"}]},
    }
    assert masking().mask([row]) == [row]
    strange = {"id": PERSON, "line": PERSON, "service": PERSON, "unheard_of": True}
    (masked,) = masking().mask([strange])
    assert re.fullmatch("[0-9a-f]{64}", masked["id"])
    assert masked["line"] == masking().mask([{"handle": PERSON}])[0]["handle"]
    assert (masked["service"], masked["unheard_of"]) == (None, None)


def test_a_name_is_a_word_of_effects_and_apps_alone() -> None:
    """Events come as they are, so the API may add the name of whoever sent a message to one."""
    data = {
        "name": "Ann",
        "sender_handle": {"name": "Ann", "handle": PERSON},
        "chat": {"name": "Ann", "handles": [{"name": ["Ann"]}]},
        "effect": {"name": "confetti", "type": "screen"},
        "parts": [{"app": {"name": "Maps"}}],
    }
    (masked,) = masking().mask([{"name": "Ann", "data": data}])
    assert "Ann" not in json.dumps(masked)
    assert masked["data"]["effect"] == data["effect"]
    assert masked["data"]["parts"] == data["parts"]


def test_each_kind_is_masked_by_itself() -> None:
    row = {"text": "Call me", "from": PERSON, "filename": "cv.pdf", "_extra": {"poll": 1}}
    assert masking(text=None).mask([row])[0]["text"] == "Call me"
    assert masking(text=None).mask([row])[0]["filename"] is None
    assert masking(handles=False).mask([row]) == [{"text": None, "from": PERSON, "filename": None, "_extra": None}]


def test_a_text_can_be_decrypted_as_the_guide_says() -> None:
    from base64 import urlsafe_b64encode

    from cryptography.fernet import Fernet

    (row,) = masking(text="encrypt").mask([{"text": "Soup?"}])
    secret = hmac.new(KEY.encode(), b"tap-linq: encryption of text", hashlib.sha256).digest()
    assert Fernet(urlsafe_b64encode(secret)).decrypt(row["text"]).decode() == "Soup?"


@pytest.mark.parametrize(
    ("given_settings", "why"),
    [
        ({"mask_handles": True}, "mask_key: must have 32 characters or more, .*got none"),
        ({"mask_text": "drop", "mask_key": "short"}, "mask_key: must have 32 characters or more, .*got 5"),
        (
            {"mask_handles": True, "mask_key": "a" * 64},
            "mask_key: .*8 of them different, .*got 64, 1 of",
        ),
        ({"mask_handles": True, "mask_key": "password" * 4}, "got 32, 7 of them different"),
        ({"mask_key": KEY}, "mask_key: goes with mask_handles or mask_text"),
        (
            {"mask_text": "drop", "mask_key": KEY, "attachments_path": "/srv/files"},
            "attachments_path: must be left out",
        ),
    ],
)
def test_settings_that_would_mask_less_than_meant_are_refused(given_settings: dict[str, Any], why: str) -> None:
    defaults = {
        name: one["default"] for name, one in TapLinq.config_jsonschema["properties"].items() if "default" in one
    }
    with pytest.raises(InvalidRequestError, match=why) as refused:
        Settings.from_config({**defaults, "api_key": "key", **given_settings})
    assert KEY not in str(refused.value)
    assert KEY not in repr(Settings.from_config({**defaults, "api_key": "k", "mask_handles": True, "mask_key": KEY}))
