"""Reading a list that shifts: what was there from beginning to end is found, as long as not too much of it moves.

And what lists say about when a message arrived, and about `updated_at` of chats.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linq_client import (
    APIConnectionError,
    APIUnavailableError,
    CursorExpiredError,
    InvalidRequestError,
    LinqError,
    Page,
    PaginationError,
    PermissionDeniedError,
    ServerError,
    models,
)
from linq_client.sync import (
    MAX_READINGS,
    MAX_STALLED,
    PAGE_SIZE,
    PROBE_PAGE_SIZE,
    SAFE_MOVES,
    ListedChat,
    NoIdError,
    StableListReader,
    UnstableListError,
    UpdatedAtSignal,
    arrived_at,
    combine,
)
from linq_client.times import format_datetime

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)


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


LONGEST = 500
# What hides things happens at the front, and where pages end.
AT_AN_END = st.builds(
    lambda page, first, places: page * PAGE_SIZE + first + places,
    st.integers(0, LONGEST // PAGE_SIZE),
    st.sampled_from([0, PROBE_PAGE_SIZE]),
    st.integers(-3, 3),
).filter(lambda index: index >= 0)
MOVE = st.tuples(
    st.sampled_from(["jump", "remove", "insert"]), st.one_of(st.integers(0, 3), AT_AN_END, st.integers(0, LONGEST))
)


@settings(max_examples=200)
@given(data=st.data(), size=st.integers(PAGE_SIZE + 1, LONGEST), to_the_front=st.booleans())
def test_nothing_is_hidden_and_nothing_comes_twice(data: st.DataObject, size: int, to_the_front: bool) -> None:
    pages = size // PAGE_SIZE + 1
    moves: list[list[tuple[str, int]]] = [[] for _ in range(3 * pages)]
    for move in data.draw(st.lists(MOVE, max_size=SAFE_MOVES)):
        moves[data.draw(st.integers(0, 3 * pages - 1))].append(move)
    source = ShiftingList(size, moves, to_the_front=to_the_front)
    ids = found(source)
    assert len(ids) == len(set(ids))
    # What jumps to the end can jump to just where a page is about to end.
    excused = source.removed if to_the_front else source.removed | source.jumped
    assert {str(number) for number in range(size)} - excused <= set(ids)


@settings(max_examples=60)
@given(
    data=st.data(),
    size=st.integers(PAGE_SIZE + 1, LONGEST),
    to_the_front=st.booleans(),
    recent=st.none() | st.integers(0, 500),
    refused=st.sets(st.integers(2, 40), max_size=12),
)
def test_cursors_that_expire_hide_nothing(
    data: st.DataObject, size: int, to_the_front: bool, recent: int | None, refused: set[int]
) -> None:
    """What stood still is found: all of it, or (`recent`) the newest items of a list in that order."""
    moves: list[list[tuple[str, int]]] = [[] for _ in range(60)]
    for move in data.draw(st.lists(MOVE, max_size=SAFE_MOVES)):
        moves[data.draw(st.integers(0, 59))].append(move)
    source = ShiftingList(size, moves, to_the_front=to_the_front, refused=refused)
    for place, item in enumerate(source.items):
        item["updated_at"] = format_datetime(NOON - timedelta(minutes=place))
    needed = {str(number) for number in range(size if recent is None else min(recent + 1, size))}
    ids = []
    try:
        for item in StableListReader(source.pages, None if recent is None else NOON - timedelta(minutes=recent)):
            ids.append(item["id"])
    except CursorExpiredError:
        assert len(refused) > MAX_STALLED, "given up after that many refusals only"
        return
    assert len(ids) == len(set(ids))
    assert needed - source.removed - source.jumped <= set(ids)


def test_to_get_further_is_progress_also_where_nothing_is_new() -> None:
    """Five pages; then four starts of the second reading, each of which is refused one page later."""
    source = ShiftingList(450, [], refused=[7, 10, 14, 19])
    assert len(found(source)) == 450
    assert source.pages_read == 19 + 5 + 1


def test_an_order_is_proven_by_the_start_that_came_to_the_end() -> None:
    source = ShiftingList(450, [], refused=[3])
    for place, item in enumerate(source.items):
        item["updated_at"] = format_datetime(NOON - timedelta(minutes=place))
    assert len(list(StableListReader(source.pages, NOON - timedelta(minutes=10)))) == 450
    assert source.pages_read == 3 + 5 + 1 + 1, "the recent page of the second reading, and the front"


def test_what_comes_in_meanwhile_is_no_progress() -> None:
    """New chats at the front, as many as there are starts, must not keep a reader going whose cursors lead nowhere."""
    source = ShiftingList(3 * PAGE_SIZE, [[("insert", 0)]] * 100, refused=range(1000))
    with pytest.raises(CursorExpiredError):
        found(source)
    assert source.pages_read == 2 * (1 + MAX_STALLED)


@given(start=st.integers(1, 8), then=st.integers(0, 8))
def test_an_item_that_moves_from_one_page_end_towards_another_is_found(start: int, then: int) -> None:
    """The item behind the end of a page is pulled over it, and all other moves go to where the next reading hides it.

    One move more would do that.
    """
    pages = 10
    moves: list[list[tuple[str, int]]] = [[] for _ in range(3 * pages)]
    moves[start].append(("remove", 0))
    place, end = start * PAGE_SIZE - 1, then * PAGE_SIZE + PROBE_PAGE_SIZE
    way = [("insert", 0) if end > place else ("remove", 0)] * min(abs(end - place), SAFE_MOVES - 2)
    moves[pages + then].extend(way)
    moves[pages + then + 1].append(("remove", 0))
    source = ShiftingList(pages * PAGE_SIZE, moves)
    assert {str(number) for number in range(pages * PAGE_SIZE)} - source.removed <= set(found(source))


@pytest.mark.parametrize("end", range(1, 5))
def test_what_is_shifted_out_of_sight_and_then_jumps_is_found(end: int) -> None:
    """Two moves: the item behind the end of a page is pulled over it, and gets to the front in the next reading."""
    source = ShiftingList(450, [])
    hidden = source.items[end * PAGE_SIZE]["id"]
    for page in range(5, 11):
        source = ShiftingList(450, [])
        moves: list[list[tuple[str, int]]] = [[] for _ in range(page + 1)]
        moves[end].append(("remove", 0))
        moves[page].append(("jump", end * PAGE_SIZE - 1))
        source.moves = iter(moves)
        assert hidden in found(source)


def shifting_both_ways() -> ShiftingList:
    """In five pages, item 200 is pulled over the end of the second; if the next reading ends a page there, again."""
    moves: list[list[tuple[str, int]]] = [[] for _ in range(8)]
    moves[2], moves[5], moves[7] = [("remove", 0)], [("insert", 0)], [("remove", 0)]
    return ShiftingList(450, moves)


def test_shifts_in_both_directions_do_not_hide_the_same_item_again() -> None:
    assert "200" in found(shifting_both_ways())


def test_an_empty_page_moves_no_end_of_a_page() -> None:
    source = shifting_both_ways()

    def begins_empty(limit: int, cursor: str | None) -> Iterator[Page]:
        if cursor is None:
            yield Page([], "0", NOON)
        yield from source.pages(limit, cursor or "0")

    assert "200" in [item["id"] for item in StableListReader(begins_empty)]


@pytest.mark.parametrize(("count", "pages"), [(PAGE_SIZE - 1, 1), (PAGE_SIZE, 2)])
def test_one_page_is_read_once(count: int, pages: int) -> None:
    """A full one might be the first of several, by an API that does not say so: it is asked for less."""
    source = ShiftingList(count, [])
    reader = StableListReader(source.pages)
    assert len(list(reader)) == count
    assert source.pages_read == pages
    assert reader.started == NOON


@pytest.mark.parametrize(("rounded", "full"), [(1, PAGE_SIZE), (10, PAGE_SIZE), (1, PAGE_SIZE // 10)])
def test_a_full_page_without_a_cursor_is_no_end_where_a_smaller_one_has_none_either(rounded: int, full: int) -> None:
    """Whether an API gives as many as it is asked for, or rounds that, or can't make large pages."""
    source = ShiftingList(3 * PAGE_SIZE, [])
    source.items[0]["id"] = None

    def pages(limit: int, cursor: str | None) -> Iterator[Page]:
        if limit > full:
            raise ServerError("it took too long", status=504)
        return iter([Page(source.items[: max(round(limit / rounded), 1) * rounded], None, NOON)])

    reader = iter(StableListReader(pages))
    came: list[dict[str, Any]] = []
    with pytest.raises(PaginationError, match="is said to be the whole list"):
        came.extend(iter(lambda: next(reader), None))
    assert len(came) == full - 1, "what came counts, but for what has no id"


@pytest.mark.parametrize("sizes", [[PAGE_SIZE, 99, 99], [PAGE_SIZE, 0, 0], [PAGE_SIZE, PAGE_SIZE]], ids=str)
def test_a_list_that_shrinks_or_knows_no_sizes_has_an_end(sizes: list[int]) -> None:
    source, served = ShiftingList(PAGE_SIZE, []), iter(sizes)
    reader = StableListReader(lambda limit, cursor: iter([Page(source.items[: next(served)], None, NOON)]))
    assert len(list(reader)) == PAGE_SIZE


class LimitedList(ShiftingList):
    """A list that is served in small pages only, from an offset on.

    Attributes:
        limits: what was asked for.
    """

    def __init__(self, count: int, most: int, from_offset: int = 0, error: LinqError | None = None) -> None:
        super().__init__(count, [])
        self.error = error or ServerError("it took too long", status=504)
        self.most = most
        self.from_offset = from_offset
        self.limits: list[int] = []

    def pages(self, limit: int, cursor: str | None) -> Iterator[Page]:
        for page in super().pages(limit, cursor):
            self.limits.append(limit)
            if limit > self.most and int(cursor or 0) >= self.from_offset:
                raise self.error
            yield page
            cursor = page.next_cursor


TOO_MUCH: list[LinqError] = [
    ServerError("a gateway", status=502),
    ServerError("it took too long", status=504),
    InvalidRequestError("too large", status=413),
    APIConnectionError("no usable response"),
]


@pytest.mark.parametrize("from_offset", [0, 200])
@pytest.mark.parametrize("error", TOO_MUCH, ids=str)
def test_pages_that_the_api_can_t_make_are_asked_for_in_smaller_ones(from_offset: int, error: LinqError) -> None:
    source = LimitedList(450, 30, from_offset, error)
    assert found(source) == [str(number) for number in range(450)]
    assert sum(limit > 30 for limit in source.limits) == 1 + from_offset // PAGE_SIZE, "it is known from then on"


OTHERS: list[LinqError] = [
    APIUnavailableError("nothing works"),
    APIConnectionError("has no list messages", status=200),
    InvalidRequestError("refused", status=400),
    PermissionDeniedError("refused", status=403),
]


@pytest.mark.parametrize("error", OTHERS, ids=str)
def test_what_has_nothing_to_do_with_its_size_is_not_asked_for_in_another(error: LinqError) -> None:
    source = LimitedList(450, 30, error=error)
    with pytest.raises(type(error)):
        found(source)
    assert source.limits == [PAGE_SIZE]


def test_a_page_that_can_t_be_made_at_all_is_given_up() -> None:
    with pytest.raises(ServerError):
        found(LimitedList(450, 0, 200))


def test_what_came_into_being_meanwhile_asks_for_no_further_reading() -> None:
    source = ShiftingList(2 * PAGE_SIZE, [])

    def growing(limit: int, cursor: str | None) -> Iterator[Page]:
        item: dict[str, Any] = {"id": f"new {source.pages_read}", "created_at": "2026-03-01T12:00:01Z"}
        source.items.append(item)
        yield from source.pages(limit, cursor)

    list(StableListReader(growing))
    assert source.pages_read == 7, "two readings, and the front once more"


def test_a_list_that_never_holds_still_is_given_up() -> None:
    source = ShiftingList(2 * PAGE_SIZE, [])

    def ever_new(limit: int, cursor: str | None) -> Iterator[Page]:
        source.items.append({"id": f"old {source.pages_read}", "created_at": "2026-03-01T11:00:00Z"})
        yield from source.pages(limit, cursor)

    with pytest.raises(UnstableListError, match=f"{MAX_READINGS} readings"):
        list(StableListReader(ever_new))


def test_items_without_an_id_are_left_out_loudly() -> None:
    items: list[Any] = [{"id": "1"}, {"id": None}, {"id": ""}, {"id": " "}, {"id": 5}, None, {"id": "2"}]
    reader = iter(StableListReader(lambda limit, cursor: iter([Page(items, None, NOON)])))
    assert [next(reader), next(reader)] == [{"id": "1"}, {"id": "2"}]
    with pytest.raises(NoIdError) as raised:
        next(reader)
    assert raised.value.count == 5


def chat_of(**more: Any) -> dict[str, Any]:
    return {"id": "1", "created_at": "2026-03-01T11:00:00Z", "updated_at": "2026-03-01T12:00:00Z", **more}


def message_of(**more: Any) -> dict[str, Any]:
    times = {"created_at": "2026-03-01T12:00:00Z", "updated_at": "2026-03-01T14:00:00Z"}
    return {"id": "1", "chat_id": "c", "delivery_status": "sent", "is_from_me": False, "parts": [], **times, **more}


@pytest.mark.parametrize(
    ("more", "explained"),
    [
        ({}, False),
        ({"handles": None, "health_status": None}, False),
        ({"handles": ["odd", {"joined_at": "2026-03-01T11:59:59.999Z", "left_at": None}]}, False),
        ({"handles": [{"joined_at": "2026-03-01T12:00:00Z"}]}, True),
        ({"handles": [{"left_at": "2026-03-01T13:00:00+01:00"}]}, True),
        ({"health_status": {"updated_at": "2026-03-01T12:00:00.000Z"}}, True),
    ],
)
def test_what_explains_an_update_otherwise(more: dict[str, Any], explained: bool) -> None:
    assert ListedChat.of(chat_of(**more), NOON) == ListedChat("1", NOON - HOUR, NOON, NOON, explained)


def test_a_model_says_the_same_as_json() -> None:
    handles = [{"id": "h", "handle": "+12125550100", "joined_at": "2026-03-01T12:00:00Z"}]
    for chat in (chat_of(), chat_of(handles=handles), chat_of(health_status={"updated_at": "2026-03-01T12:00:00Z"})):
        assert ListedChat.of(models.Chat.model_validate(chat), NOON) == ListedChat.of(chat, NOON)
    for message in (message_of(), message_of(reconciled_at="2026-03-01T13:00:00Z")):
        assert arrived_at(models.Message.model_validate(message)) == arrived_at(message)


@pytest.mark.parametrize(
    ("created", "updated", "newest", "says"),
    [
        (0, 60, 60, UpdatedAtSignal.ADVANCES),
        (0, 60.05, 60, UpdatedAtSignal.ADVANCES),
        (0, 60.5, 60, UpdatedAtSignal.UNKNOWN),
        (0, 59.5, 60, UpdatedAtSignal.UNKNOWN),
        (0, 59, 60, UpdatedAtSignal.UNKNOWN),
        (0, 58, 60, UpdatedAtSignal.LAGS),
        (0, 0, 60, UpdatedAtSignal.LAGS),
        (0, 90, 60, UpdatedAtSignal.UNKNOWN),
        (0, 0, 0, UpdatedAtSignal.UNKNOWN),
        (None, 60, 60, UpdatedAtSignal.UNKNOWN),
        (0, None, 60, UpdatedAtSignal.UNKNOWN),
        (0, 60, None, UpdatedAtSignal.UNKNOWN),
    ],
)
def test_what_a_chat_says_about_updated_at(
    created: float | None, updated: float | None, newest: float | None, says: UpdatedAtSignal
) -> None:
    """Times in minutes; the fourth is a message that came in and left `updated_at` where it was."""

    def moment(minutes: float | None) -> datetime | None:
        return None if minutes is None else NOON + timedelta(minutes=minutes)

    arrivals = [moment(newest), None, moment(-1)] if newest is not None else []
    for is_explained in (False, True):
        chat = ListedChat("1", moment(created), moment(updated), NOON + 2 * HOUR, is_explained)
        hidden = is_explained and says is UpdatedAtSignal.ADVANCES
        assert chat.signal(arrivals) is (UpdatedAtSignal.UNKNOWN if hidden else says)


def test_a_message_that_may_have_come_after_the_list_says_nothing() -> None:
    chat = ListedChat("1", NOON - HOUR, NOON - HOUR, listed=NOON)
    assert chat.newest([NOON - timedelta(seconds=60), NOON, None]) is None
    assert chat.signal([NOON - timedelta(seconds=60), NOON + HOUR]) is UpdatedAtSignal.UNKNOWN
    assert chat.signal([NOON - timedelta(seconds=61)]) is UpdatedAtSignal.LAGS


def test_one_chat_that_lags_outweighs_all_others() -> None:
    advances, lags, unknown = UpdatedAtSignal.ADVANCES, UpdatedAtSignal.LAGS, UpdatedAtSignal.UNKNOWN
    assert combine(None, []) is None
    assert combine(None, [unknown]) is None
    assert combine(True, [unknown]) is True
    assert combine(False, [unknown]) is False
    assert combine(False, [advances, unknown]) is True
    assert combine(True, [advances, lags]) is False


@pytest.mark.parametrize(
    ("times", "arrived"),
    [
        ({}, None),
        ({"created_at": NOON}, NOON),
        ({"created_at": NOON, "reconciled_at": NOON + HOUR}, NOON + HOUR),
        ({"created_at": NOON, "reconciled_at": NOON - HOUR}, NOON),
        ({"created_at": "soon", "reconciled_at": NOON}, NOON),
        ({"created_at": NOON, "reconciled_at": "soon"}, NOON),
    ],
)
def test_a_message_that_was_recovered_late_arrives_when_it_was_recovered(
    times: dict[str, datetime | str], arrived: datetime | None
) -> None:
    message = {name: at if isinstance(at, str) else format_datetime(at) for name, at in times.items()}
    assert arrived_at(message) == arrived
