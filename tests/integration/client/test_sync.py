"""Reading a list that shifts: what was there from beginning to end is found, as long as not too much of it moves.

And what lists say about when a message arrived, and about `updated_at` of chats.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from datetime import datetime, timezone
from urllib.parse import parse_qs, urlsplit

import pytest

from benchmarks.ports import free_port
from linq_client import APIConnectionError, ChatNotFoundError, CursorExpiredError, Effect, LinqClient, Page
from linq_client.sync import (
    MAX_STALLED,
    PAGE_SIZE,
    StableListReader,
    read_stable,
)
from tests.support.emulator_process import Emulator
from tests.support.scripted_server import KEY, OK, Handler, Response, Server, client_of, envelope, serving

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


class ShiftingList:
    """A list with cursors that are offsets; before each page, items jump to one end of it, go away, or come in."""

    def __init__(
        self,
        size: int,
        moves: list[list[tuple[str, int]]],
        *,
        to_the_front: bool = True,
        refused: Collection[int] = (),
    ) -> None:
        self.items = [{"id": str(number), "created_at": "2026-03-01T11:00:00Z"} for number in range(size)]
        self.moves = iter(moves)
        self.to_the_front = to_the_front
        self.refused = refused
        self.pages_read = 0
        self.removed: set[str] = set()
        self.jumped: set[str] = set()
        self.inserted = 0

    def move(self, kind: str, index: int) -> None:
        end = 0 if self.to_the_front else len(self.items)
        if kind == "insert":
            self.inserted += 1
            new = {"id": f"new {self.inserted}", "created_at": "2026-03-01T12:00:01Z"}
            self.items.insert(0, new)
        elif self.items:
            moved = self.items.pop(index % len(self.items))
            if kind == "jump":
                self.items.insert(end, moved)
                self.jumped.add(moved["id"])
            else:
                self.removed.add(moved["id"])

    def pages(self, limit: int, cursor: str | None) -> Iterator[Page]:
        offset = int(cursor or 0)
        while True:
            for kind, index in next(self.moves, ()):
                self.move(kind, index)
            self.pages_read += 1
            if offset and self.pages_read in self.refused:
                raise CursorExpiredError("expired")
            more = offset + limit < len(self.items)
            yield Page(self.items[offset : offset + limit], str(offset + limit) if more else None, NOON)
            if not more:
                return
            offset += limit


def found(source: ShiftingList) -> list[str]:
    return [item["id"] for item in StableListReader(source.pages)]


class LimitedCursors(Handler):
    """Chats in pages, whose cursors are refused when they are older than some requests."""

    lifetime = 0
    chats = 450

    def response(self) -> Response:
        url = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path != "/v3/chats":
            return OK
        now = len(self.server.seen)
        offset, made = map(int, asked.get("cursor", f"0@{now}").split("@"))
        if now - made > self.lifetime:
            return envelope(400, 1005)
        end = min(offset + int(asked["limit"]), self.chats)
        rows = [{"id": str(number), "created_at": "2026-03-01T11:00:00Z"} for number in range(offset, end)]
        cursor = f"{end}@{now}" if end < self.chats else None
        return 200, {}, json.dumps({"chats": rows, "next_cursor": cursor}).encode()


def chats_asked_for(server: Server) -> int:
    return sum(path.startswith("/v3/chats") for _, path, _ in server.seen)


def test_a_list_whose_cursors_expire_while_its_items_are_made_use_of_is_read_to_its_end() -> None:
    class ThreeRequests(LimitedCursors):
        lifetime = 3

    found = []
    with serving(OK, handler=ThreeRequests) as server, client_of(server) as client:
        for page in StableListReader.of(client.chats.list()).pages():
            found += [item["id"] for item in page.items]
            for _ in range(4 if page.items else 0):
                client.phone_numbers.list()
        assert found == [str(number) for number in range(450)]
        # Five pages, each of which takes one start more than the one before; then the five again, and the front.
        assert chats_asked_for(server) == (2 + 3 + 4 + 5 + 5) + 5 + 1


@pytest.mark.parametrize("refusal", [envelope(400, 1005), envelope(404, 9999), (404, {}, b""), (410, {}, b"<html>")])
def test_a_list_whose_cursors_lead_nowhere_is_given_up(refusal: Response) -> None:
    class TwoPages(LimitedCursors):
        lifetime = 1

        def response(self) -> Response:
            return refusal if "cursor=200" in self.path else super().response()

    with serving(OK, handler=TwoPages) as server, client_of(server) as client:
        reader = iter(StableListReader.of(client.chats.list()))
        assert [next(reader)["id"] for _ in range(200)] == [str(number) for number in range(200)]
        with pytest.raises(CursorExpiredError, match=f"{MAX_STALLED} readings .* no further than page 2$") as caught:
            next(reader)
        assert (caught.value.status, caught.value.effect) == (refusal[0], Effect.NONE)
        assert chats_asked_for(server) == 3 * (1 + MAX_STALLED)


def test_a_chat_that_is_gone_is_no_expired_cursor() -> None:
    page = b'{"messages": [{"id": "1"}], "next_cursor": "2"}'
    with serving((200, {}, page), envelope(404, 2001)) as server, client_of(server) as client:
        with pytest.raises(ChatNotFoundError):
            list(StableListReader.of(client.messages.list("c")))
        assert len(server.seen) == 2


def test_a_list_of_the_client_is_read_stable(emulator: Emulator, client: LinqClient) -> None:
    emulator.control("POST", "seed", {"chats": 2 * PAGE_SIZE + 3, "messages_per_chat": 1, "lines": emulator.lines[:1]})
    chats = read_stable(client.chats.list(from_=emulator.lines[0], limit=7))
    assert len(chats) == 2 * PAGE_SIZE + 3
    assert {chat.id for chat in chats} == {row["chat_id"] for row in emulator.ledger()}
    reader = StableListReader.of(client.messages.list(chats[0].id))
    (message,) = reader
    assert message["chat_id"] == chats[0].id
    assert reader.started == client.server_time
    limits = [re.findall(r"limit=(\d+)", row["query"])[0] for row in emulator.requests_served()]
    assert limits == ["100", "100", "100", "62", "100", "100", "100", "100"], "its own pages, twice, and the front"


def test_who_can_t_be_reached_is_not_asked_for_less() -> None:
    """An outage would take twice the tries, and twice the time."""
    with LinqClient(KEY, base_url=f"http://127.0.0.1:{free_port()}/api/partner", max_retries=0) as client:
        with pytest.raises(APIConnectionError):
            read_stable(client.chats.list())
        assert client.stats.requests == 1
