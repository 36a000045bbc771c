"""What a list loses and repeats while it grows: nothing that stood still is ever missing from the pages together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

LINE, ANN = "+12025550101", "+12025550150"
OLD = "2026-11-01T10:00:00Z"
ORDERS = ("newest", "oldest", "unordered")

CHANGES = st.lists(st.sampled_from(["insert", "insert late", "move or delete", "nothing"]), min_size=4, max_size=10)
WALKS = {
    "order": st.sampled_from(ORDERS),
    "kind": st.sampled_from(["offset", "key"]),
    "empty_pages": st.booleans(),
    "limit": st.integers(1, 3),
    "size": st.integers(1, 8),
    "changes": CHANGES,
    "data": st.data(),
}
SETTINGS = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def walk(server: Any, path: str, name: str, limit: int, between: Callable[[], None], **query: str) -> list[str]:
    """The ids of all pages; something happens before each but the first."""
    ids: list[str] = []
    cursor = None
    while True:
        page = server.ok("GET", path, params={"limit": limit, **query, **({"cursor": cursor} if cursor else {})})
        ids += [item["id"] for item in page[name]]
        cursor = page["next_cursor"]
        if cursor is None:
            return ids
        between()


def prepare(server: Any, order: str, kind: str, empty_pages: bool) -> None:
    server.restart()
    server.set_switches(
        chat_order=order,
        message_order=order,
        cursor=kind,
        empty_pages=empty_pages,
        reconciled_created_at="sent",
        delivery_moves_message=False,
    )


def check(ids: list[str], still: set[str], kind: str) -> None:
    assert still <= set(ids)
    if kind == "key":
        assert len(ids) == len(set(ids)), "a key repeats nothing"


@SETTINGS
@given(**WALKS)
def test_messages(shared_server, order, kind, empty_pages, limit, size, changes, data):
    server = shared_server
    prepare(server, order, kind, empty_pages)
    chat = server.inbound(ANN, "0")["chat_id"]
    for number in range(1, size):
        server.inbound(ANN, str(number), chat_id=chat)
        server.advance(data.draw(st.sampled_from([0, 1])))
    path = f"/v3/chats/{chat}/messages"
    still = {message["id"] for message in server.walk(path, "messages")}
    steps = iter(changes)

    def change() -> None:
        step = next(steps, "nothing")
        if step == "insert":
            server.inbound(ANN, "new", chat_id=chat)
        elif step == "insert late":
            server.inbound(ANN, "late", chat_id=chat, sent_at=OLD, reconciled=True)
        elif step == "move or delete" and kind == "key" and still:
            # With offsets, what follows moves up by one, and the next page begins behind it.
            gone = data.draw(st.sampled_from(sorted(still)))
            still.discard(gone)
            server.call("DELETE", f"/v3/messages/{gone}")

    check(walk(server, path, "messages", limit, change), still, kind)


@SETTINGS
@given(**WALKS)
def test_chats(shared_server, order, kind, empty_pages, limit, size, changes, data):
    server = shared_server
    prepare(server, order, kind, empty_pages)
    handles = (f"+1202555{number:04d}" for number in range(110, 200))
    chats = {}
    for _ in range(size):
        handle = next(handles)
        chats[server.inbound(handle, "hi")["chat_id"]] = handle
        server.advance(data.draw(st.sampled_from([0, 1])))
    still = set(chats)
    steps = iter(changes)

    def change() -> None:
        step = next(steps, "nothing")
        if step.startswith("insert"):
            server.inbound(next(handles), "hi")
        elif step == "move or delete" and kind == "key":
            moved = data.draw(st.sampled_from(sorted(chats)))
            still.discard(moved)
            server.advance(1)
            server.inbound(chats[moved], "again")

    ids = walk(server, "/v3/chats", "chats", limit, change)
    assert still <= set(ids)


@SETTINGS
@given(**{**WALKS, "order": st.sampled_from(["asc", "desc"]), "kind": st.just("key")})
def test_threads(shared_server, order, kind, empty_pages, limit, size, changes, data):
    server = shared_server
    prepare(server, "newest", kind, empty_pages)
    first = server.inbound(ANN, "0")
    replies = [server.inbound(ANN, "re", reply_to=first["id"])["id"] for _ in range(1, size)]
    still = {first["id"], *replies}
    steps = iter(changes)

    def change() -> None:
        step = next(steps, "nothing")
        if step.startswith("insert"):
            server.inbound(ANN, "new", reply_to=first["id"])
        elif step == "move or delete" and len(still) > 1:
            gone = data.draw(st.sampled_from(sorted(still - {first["id"]})))
            still.discard(gone)
            server.call("DELETE", f"/v3/messages/{gone}")

    ids = walk(server, f"/v3/messages/{first['id']}/thread", "messages", limit, change, order=order)
    check(ids, still, kind)
