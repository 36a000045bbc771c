"""What the tests of looks into the chats share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from airflow_provider_linq._internal.in_doubt import ChatLookup, Content, Found, Resolution
from linq_client import LinqClient, RetentionWindow
from linq_client.models import CreatedChat
from tests.support.emulator_process import Emulator

ANN, BOB, CAT = "+12025550121", "+12025550122", "+12025550123"
#: One phone in two forms: as it was dialled for years, and as platforms show it now.
MOBILE, SHOWN = "+5215550100134", "+525550100134"
TEXT: Final = "Hello Ann"
ABSENT, UNCLEAR = Resolution.ABSENT, Resolution.UNCLEAR

Send: TypeAlias = Callable[..., CreatedChat]


def words(text: str = TEXT) -> Content:
    return (("text", text),)


class Look:
    """Looks with the arguments that most tests share."""

    def __init__(self, client: LinqClient, line: str, retention: RetentionWindow | None = None) -> None:
        self.client = client
        self.line: str | None = line
        lines = {one.phone_number for one in client.phone_numbers.list()}
        self.began = client.server_time
        self.lookup = ChatLookup(client, lambda: lines, retention, lambda: client.server_time)

    def __call__(self, *to: str, **arguments: Any) -> Found | Resolution:
        self.client.phone_numbers.list()  # which shows the time
        given = {"line": self.line, "since": self.began}
        content = arguments.pop("content", words())
        return self.lookup.resolve(tuple(sorted(to)), content, **{**given, **arguments})


def inbound(emulator: Emulator, sender: str, line: str | None = None) -> None:
    emulator.control("POST", "inbound", {"from": sender, "text": TEXT, "line": line or emulator.lines[0]})


def sender(client: LinqClient, line: str) -> Send:
    """Return what sends from a line; what came of it is for a look to find out."""

    def send(*to: str, text: str = TEXT, line: str = line) -> CreatedChat:
        return client.chats.create(line, to, text)

    return send
