"""Arguments of methods that are refused before a request is made."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest

from linq_client import InvalidRequestError, LinqClient

HOOK = "https://example.org/linq"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda c: c.attachments.create("", "image/png", 9), "filename: must be 1 to 255 characters, got 0"),
        (lambda c: c.attachments.create("a" * 256, "image/png", 9), "filename: must be 1 to 255 characters, got 256"),
        (lambda c: c.attachments.create("a.png", "image/png", 0), "size_bytes: must be 1 to 104857600, got 0"),
        (lambda c: c.attachments.upload(BytesIO(b"x")), "filename: must be given unless the file is a path, got none"),
        (
            lambda c: c.messages.react("m", "custom"),
            "custom_emoji: goes with type custom alone, got None with 'custom'",
        ),
        (lambda c: c.messages.react("m", "love", custom_emoji="x"), "custom_emoji: goes with type custom alone"),
        (lambda c: c.webhook_subscriptions.create(HOOK, []), "subscribed_events: must be a list of one event name"),
        (lambda c: c.webhook_subscriptions.create(HOOK, "message.sent"), "or more, got 'message.sent'"),
    ],
)
def test_what_is_refused_names_field_rule_and_value(call: Callable[[LinqClient], Any], words: str) -> None:
    with LinqClient("a-key", base_url="http://127.0.0.1:1") as client:
        with pytest.raises(InvalidRequestError) as refused:
            call(client)
        assert words in str(refused.value)
        assert client.stats.requests == 0
