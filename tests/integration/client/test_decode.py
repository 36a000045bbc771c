"""JSON that is not quite JSON: it is read as far as it can be, and what comes out can be stored everywhere."""

from __future__ import annotations

import logging

import pytest
from hypothesis import strategies as st

from linq_client import APIConnectionError
from tests.support.scripted_server import client_of, serving

HALF = "\N{REPLACEMENT CHARACTER}"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters()), inner, max_size=4),
    max_leaves=20,
)


def test_a_list_of_the_client_is_read_whatever_one_text_of_it_holds(caplog: pytest.LogCaptureFixture) -> None:
    message = (
        b'{"id": "%d", "chat_id": "c", "created_at": "2026-03-01T12:00:00Z", "updated_at": "2026-03-01T12:00:00Z",'
        b'"is_from_me": false, "delivery_status": "received", "parts": [{"type": "text", "value": "secret %s"}]}'
    )
    odd = [b"", rb"\ud83d", b"\xe9", rb"\u0000", b"\x01"]
    body = b'{"messages": [%s], "next_cursor": null}' % b",".join(message % one for one in enumerate(odd))
    with serving((200, {}, body)) as server, client_of(server) as client:
        for _ in range(2):
            texts = [part.value for each in client.messages.list("c") for part in each.parts]  # type: ignore[union-attr]
        assert texts == [f"secret {text}" for text in ("", HALF, HALF, HALF, "\x01")]
        assert (client.stats.repaired, client.stats.retries) == (2, 0)
    (logged,) = [record for record in caplog.records if "repaired" in record.getMessage()]
    assert logged.levelno == logging.WARNING
    assert "secret" not in caplog.text


def test_what_is_no_json_is_still_asked_for_again() -> None:
    with serving((200, {}, b"<html>")) as server, client_of(server) as client:
        with pytest.raises(APIConnectionError, match="not a JSON object"):
            client.phone_numbers.list()
        assert (client.stats.repaired, client.stats.retries) == (0, 4)
