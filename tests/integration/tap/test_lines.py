"""Which lines a run reads, and that a run that reads nothing, or less than there is, does not pass for a good one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from linq_client import AuthenticationError, LinqError
from tap_linq.extraction.session import IncompleteRunError, NoLineError
from tests.support.running import FIRST_LINE, PERSON, SECOND_LINE, Output, run_api
from tests.support.small_api import Handler, SmallAPI, small_api


@pytest.fixture
def api() -> Iterator[SmallAPI]:
    with small_api() as started:
        yield started


def ids(api: SmallAPI) -> set[str]:
    return {message["id"] for chat in api.chats for message in api.messages_of(chat)}


def complete(output: Output, api: SmallAPI) -> bool:
    return output.error is None and set(output.ids()) == ids(api) and list(output.bookmarks()) == [FIRST_LINE]


@pytest.mark.parametrize(
    "more",
    [
        {"reputation": "HEALTHY"},
        {"reputation": {"updated_at": ""}},
        {"forwarding_number": 5},
        {"line_type": {}},
        {"id": 7},
        {"id": None},
    ],
)
def test_a_field_that_nobody_needs_may_have_any_form(api: SmallAPI, more: dict[str, Any]) -> None:
    api.lines = [{"id": "l1", "phone_number": FIRST_LINE, **more}]
    assert complete(run_api(api, select=["messages"]), api)


@pytest.mark.parametrize("line", [{"phone_number": None}, {"phone_number": ""}, {"reputation": None}])
def test_a_line_without_a_number_yet_is_named_and_passed_over(
    api: SmallAPI, line: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    api.lines = [{"id": "new", **line}, *api.lines]
    assert complete(run_api(api), api)
    assert "line new has no phone number yet" in caplog.text


@pytest.mark.parametrize("number", [12025550102, "202-555-0102", ["+12025550102"]])
def test_a_line_whose_number_can_t_be_read_fails_the_run_at_its_end(api: SmallAPI, number: object) -> None:
    api.lines = [{"id": "odd", "phone_number": number}, *api.lines]
    output = run_api(api)
    assert isinstance(output.error, IncompleteRunError)
    assert "could not be read: line odd" in str(output.error)
    assert set(output.ids()) == ids(api)
    assert list(output.bookmarks()) == [FIRST_LINE]
    assert complete(run_api(api, phone_numbers=[FIRST_LINE]), api), "who names lines wants no others"


@pytest.mark.parametrize("odd", [None, "+12025550102", [], {}])
def test_a_line_that_is_none_fails_the_run_at_its_end(api: SmallAPI, odd: object) -> None:
    api.lines = [odd, *api.lines]
    output = run_api(api)
    assert "could not be read: line at place 1" in str(output.error)
    assert list(output.bookmarks()) == [FIRST_LINE]


@pytest.mark.parametrize("lines", [[], [{"id": "new", "phone_number": None}]])
def test_no_line_at_all_is_a_failed_run(api: SmallAPI, lines: list[Any]) -> None:
    api.lines = lines
    assert isinstance(run_api(api).error, NoLineError)


@pytest.mark.parametrize("body", [{"phone_numbers": None}, {}, {"phone_numbers": [], "success": False, "error": {}}])
def test_an_answer_without_the_list_is_no_empty_one(api: SmallAPI, body: dict[str, Any]) -> None:
    api.answers["/v3/phone_numbers"] = lambda handler, _: handler.send(body)
    output = run_api(api, outage_patience_minutes=0)
    assert isinstance(output.error, LinqError)


def test_lines_may_come_in_pages(api: SmallAPI) -> None:
    pages = [
        {"phone_numbers": [{"id": "l2", "phone_number": SECOND_LINE}], "next_cursor": "2"},
        {"phone_numbers": api.lines, "next_cursor": None},
    ]
    api.answers["/v3/phone_numbers"] = lambda handler, query: handler.send(pages["cursor" in query])
    assert set(run_api(api).bookmarks()) == {FIRST_LINE, SECOND_LINE}


@pytest.mark.parametrize("fails", [False, True])
def test_a_line_that_state_knows_and_the_account_does_not(api: SmallAPI, fails: bool) -> None:
    api.lines = [*api.lines, {"id": "l2", "phone_number": SECOND_LINE}]
    before = run_api(api)
    api.lines = api.lines[:1]
    output = run_api(api, state=before.state, on_missing_line="fail" if fails else "warn")
    assert output.bookmarks()[SECOND_LINE] == before.bookmarks()[SECOND_LINE], "it stays"
    assert (output.error is not None) is fails
    if fails:
        assert str(output.error) == f"lines that STATE knows are no longer the account's: {SECOND_LINE}"


def test_subscriptions_that_may_not_be_read_hide_nothing(api: SmallAPI) -> None:
    api.answers["/v3/webhook-subscriptions"] = lambda handler, _: handler.refuse(403, 2011)
    api.answers[f"/v3/chats/{api.chats[1]}/messages"] = lambda handler, _: handler.refuse(403, 2005)
    error = str(run_api(api).error)
    assert f"could not be read: chat {api.chats[1]} of line {FIRST_LINE}, webhook_subscriptions;" in error


def test_a_subscription_is_emitted_as_it_came_but_for_its_secret(api: SmallAPI) -> None:
    odd = {"id": "s1", "subscribed_events": None, "signing_secret": "whsec_x"}
    api.answers["/v3/webhook-subscriptions"] = lambda handler, _: handler.send(
        {"subscriptions": [odd, 5], "next_cursor": None}
    )
    (record,) = run_api(api).records("webhook_subscriptions")
    assert record["id"] == "s1"
    assert "whsec_x" not in str(record)


def gateway(handler: Handler, _: dict[str, str]) -> None:
    handler.send(b"<html>sign in</html>", 401)


def test_a_gateway_s_401_is_that_chat_s_failure_alone(api: SmallAPI) -> None:
    api.answers[f"/v3/chats/{api.chats[0]}/messages"] = gateway
    output = run_api(api)
    assert isinstance(output.error, IncompleteRunError)
    assert set(output.ids()) == {id_ for id_ in ids(api) if not id_.startswith(api.chats[0])}


def test_the_api_s_401_ends_the_run_after_what_was_read_is_written() -> None:
    with small_api(chats=200) as api:
        api.answers[r"/v3/chats/c00150/messages"] = lambda handler, _: handler.refuse(401, 2004)
        output = run_api(api)
    assert isinstance(output.error, AuthenticationError)
    assert output.bookmarks() == {}
    read = sum(path.endswith("/messages") for path in api.seen)
    assert 4 * (read - 12) <= len(output.ids()) < 4 * 200


def test_chats_that_can_t_be_read_stop_no_others_wherever_they_stand() -> None:
    with small_api(chats=60) as api:
        for chat in api.chats[:40]:
            api.answers[f"/v3/chats/{chat}/messages"] = lambda handler, _: handler.refuse(403, 2005)
        output = run_api(api)
        assert {id_.partition("-")[0] for id_ in output.ids()} == set(api.chats[40:])
        assert "and 20 more" in str(output.error)
        assert sum(path.endswith("/messages") for path in api.seen) == 60


def all_of_the_account(api: SmallAPI) -> dict[str, Any]:
    """The list of chats of an account with one chat for each of two lines."""
    other = api.chat("other")
    other["handles"][0]["handle"] = SECOND_LINE
    return {"chats": [*map(api.chat, api.chats), other], "next_cursor": None}


def test_a_list_that_shows_the_chats_of_all_lines_gives_none_to_the_wrong_one(
    api: SmallAPI, caplog: pytest.LogCaptureFixture
) -> None:
    """As of an API that passes over `from`."""
    api.lines = [*api.lines, {"id": "l2", "phone_number": SECOND_LINE}]
    body = all_of_the_account(api)
    api.answers["/v3/chats"] = lambda handler, _: handler.send(body)
    output = run_api(api)
    assert output.error is None
    for stream in ("messages", "chats", "chat_participants"):
        for row in output.records(stream):
            of_other = "other" in (row.get("chat_id"), row.get("id"))
            assert row["line"] == (SECOND_LINE if of_other else FIRST_LINE)
    assert len(output.ids()) == 4 * 4
    assert "its list shows chats of other lines" in caplog.text
    wanted = run_api(api, phone_numbers=[SECOND_LINE])
    assert {row["chat_id"] for row in wanted.records("messages")} == {"other"}


def test_a_list_of_all_lines_chats_that_does_not_tell_its_end_does_not_count(api: SmallAPI) -> None:
    """However few of those that came are the line's."""
    api.lines = [*api.lines, {"id": "l2", "phone_number": SECOND_LINE}]
    chats = [api.chat(f"c{number}") for number in range(300)]
    for chat in chats[::2]:
        chat["handles"][0]["handle"] = SECOND_LINE
    api.answers["/v3/chats"] = lambda handler, query: handler.send(
        {"chats": chats[: int(query["limit"])], "next_cursor": None}
    )
    output = run_api(api)
    assert f"the chats of line {FIRST_LINE}, the chats of line {SECOND_LINE}" in str(output.error)
    assert output.bookmarks() == {}


def test_a_chat_whose_own_handle_nobody_knows_is_the_line_s(api: SmallAPI) -> None:
    body = all_of_the_account(api)
    api.answers["/v3/chats"] = lambda handler, _: handler.send(body)
    assert len(run_api(api).ids()) == 4 * 4, "the account shows no second line"


def test_an_empty_list_does_not_count_where_the_list_of_all_shows_chats_of_the_line(api: SmallAPI) -> None:
    """As of an API whose `from` means something else by now."""
    before = run_api(api)
    body = all_of_the_account(api)
    api.answers["/v3/chats"] = lambda handler, query: handler.send(
        {"chats": [], "next_cursor": None} if "from" in query else body
    )
    output = run_api(api, state=before.state)
    assert isinstance(output.error, IncompleteRunError)
    assert f"the chats of line {FIRST_LINE}" in str(output.error)
    assert output.bookmarks() in ({}, before.bookmarks())


def of_two_lines(api: SmallAPI) -> dict[str, Any]:
    """A chat of the first line with the second one, both of the account."""
    api.lines = [*api.lines, {"id": "l2", "phone_number": SECOND_LINE}]
    chat = api.chat("both")
    chat["handles"][1]["handle"] = SECOND_LINE
    return chat


def test_a_chat_of_two_lines_is_in_the_list_of_one_of_them(api: SmallAPI) -> None:
    """Which is no reason to fail the other one, run after run."""
    chat = of_two_lines(api)
    chat["handles"][1]["is_me"] = True
    api.answers["/v3/chats"] = lambda handler, query: handler.send(
        {"chats": [] if query.get("from") == SECOND_LINE else [chat], "next_cursor": None}
    )
    output = run_api(api)
    assert output.error is None
    assert set(output.bookmarks()) == {FIRST_LINE, SECOND_LINE}


def test_a_chat_that_a_line_is_in_is_not_left_to_another_one(api: SmallAPI) -> None:
    """As of a group that both are in, whose handles name one of them as the own one: nobody else may read it."""
    chat = of_two_lines(api)
    api.answers["/v3/chats"] = lambda handler, _: handler.send({"chats": [chat], "next_cursor": None})
    assert len(run_api(api, phone_numbers=[SECOND_LINE]).ids()) == 4


@pytest.mark.parametrize("all_chats", [400, 404, 200])
def test_a_line_without_chats_is_none_that_failed(api: SmallAPI, all_chats: int) -> None:
    """Whether the API lists all of them, as it does now, or wants `from`, as it once did."""
    api.lines = [*api.lines, {"id": "l2", "phone_number": SECOND_LINE}]

    def answer(handler: Handler, query: dict[str, str]) -> None:
        if "from" in query or all_chats == 200:
            handler.send({"chats": [], "next_cursor": None})
        else:
            handler.refuse(all_chats, 1001)

    api.answers["/v3/chats"] = answer
    output = run_api(api)
    assert output.error is None
    assert set(output.bookmarks()) == {FIRST_LINE, SECOND_LINE}
    assert api.seen.count("/v3/chats") == 3, "what is known of all lines is not asked again"


def test_a_chat_that_goes_before_its_line_is_listed_is_none_that_is_hidden(api: SmallAPI) -> None:
    api.lines = [*api.lines, {"id": "l2", "phone_number": SECOND_LINE}]
    chat = api.chat("other")
    chat["handles"][0]["handle"] = SECOND_LINE
    lists = iter([[chat]])

    def answer(handler: Handler, query: dict[str, str]) -> None:
        handler.send({"chats": [] if "from" in query else next(lists, []), "next_cursor": None})

    api.answers["/v3/chats"] = answer
    output = run_api(api)
    assert output.error is None
    assert set(output.bookmarks()) == {FIRST_LINE, SECOND_LINE}


def with_ids(api: SmallAPI, change: Callable[[dict[str, Any], int], Any]) -> None:
    """Let a change be made to each message, which has a number."""
    for number, chat in enumerate(api.chats):
        messages = api.messages_of(chat)
        for place, message in enumerate(messages):
            change(message, 10 * number + place)
        body = {"messages": messages, "next_cursor": None}
        api.answers[f"/v3/chats/{chat}/messages"] = lambda handler, _, body=body: handler.send(body)


@pytest.mark.parametrize("name", ["message_id", "id"])
def test_messages_none_of_which_has_an_id_are_no_odd_ones(api: SmallAPI, name: str) -> None:
    """The API has changed: the run must not pass for a good one, nor its bookmark for what was read."""
    with_ids(api, lambda message, number: message.update({"id": None, name: number}))
    output = run_api(api)
    assert isinstance(output.error, IncompleteRunError)
    assert f"the messages of line {FIRST_LINE}" in str(output.error)
    assert output.bookmarks() == {}


@pytest.mark.parametrize("chats", [1, 3])
def test_a_single_message_without_an_id_is_an_odd_one(chats: int) -> None:
    """Also where it is all that a quiet line shows: it would fail each run as long as it lives."""
    with small_api(chats=chats, messages=chats) as api:
        with_ids(api, lambda message, number: message.update(id=None) if number == 0 else None)
        output = run_api(api)
        assert output.error is None
        assert len(output.ids()) == chats * chats - 1
        assert list(output.bookmarks()) == [FIRST_LINE]


def test_a_message_that_two_chats_show_comes_once(api: SmallAPI) -> None:
    shared = api.message(api.chats[0], 0)
    for chat in api.chats[:2]:
        body = {"messages": [shared, *api.messages_of(chat)[1:]], "next_cursor": None}
        api.answers[f"/v3/chats/{chat}/messages"] = lambda handler, _, body=body: handler.send(body)
    emitted = run_api(api).ids()
    assert emitted.count(shared["id"]) == 1
    assert len(emitted) == len(set(emitted)) == 11


@pytest.mark.parametrize("chats", [4, 5])
def test_chats_that_change_and_show_no_message_are_named(chats: int, caplog: pytest.LogCaptureFixture) -> None:
    """As with a key that may list chats, and not read them, by an API that has no word for that.

    The second run reads each of them twice: none has shown yet that new messages move `updated_at`.
    """
    with small_api(chats=chats, messages=0) as api:
        first = run_api(api)
        assert run_api(api, state=first.state).error is first.error is None
    assert caplog.text.count("turns into a full sweep") == 1
    assert caplog.text.count("5 chats have changed lately, and the API shows no message") == 2 * (chats == 5)


@pytest.mark.parametrize("window", [24, "null"])
def test_chats_that_have_not_changed_lately_are_no_cause_for_a_word(
    window: object, caplog: pytest.LogCaptureFixture
) -> None:
    """Their messages have expired, or were deleted."""
    with small_api(chats=20, messages=0) as api:
        api.now -= timedelta(hours=13)
        assert run_api(api, retention_window_hours=window).error is None
    assert "the API shows no message" not in caplog.text


def test_chats_that_have_vanished_are_no_cause_for_a_word(caplog: pytest.LogCaptureFixture) -> None:
    with small_api(chats=5) as api:
        api.answers["/v3/chats/.*"] = lambda handler, _: handler.refuse(404, 2001)
        assert run_api(api).error is None
    assert caplog.text.count("has vanished") == 5
    assert "the API shows no message" not in caplog.text


def test_messages_of_two_chats_with_one_id_are_two(api: SmallAPI) -> None:
    """Ids that count within a chat: what a table makes of them is its own affair, but none is left out here."""

    def per_chat(message: dict[str, Any], number: int) -> None:
        message.update(id=str(number % 10), updated_at=None)

    with_ids(api, per_chat)
    found = [(row["chat_id"], row["id"]) for row in run_api(api).records("messages")]
    assert len(found) == len(set(found)) == 12


def test_a_chat_without_an_id_does_not_hide_the_locations_of_others(api: SmallAPI) -> None:
    shared = {"type": "Feature", "geometry": None, "properties": {"handle": PERSON}}
    body = {"success": True, "data": {"type": "FeatureCollection", "features": [shared]}}
    api.answers["/v3/chats/[^/]*/location"] = lambda handler, _: handler.send(body)
    chats = {"chats": [{"id": None}, *map(api.chat, api.chats)], "next_cursor": None}
    api.answers["/v3/chats"] = lambda handler, _: handler.send(chats)
    for streams in (["messages", "chat_locations"], ["chat_locations"]):
        output = run_api(api, select=streams)
        assert isinstance(output.error, IncompleteRunError)
        assert {row["chat_id"] for row in output.records("chat_locations")} == set(api.chats)
    assert output.bookmarks() == {}, "it may hold messages"


@pytest.mark.parametrize("feature", [5, {"properties": "x"}, {"properties": None, "geometry": []}])
def test_a_location_of_another_form_is_no_end_of_the_run(api: SmallAPI, feature: object) -> None:
    body = {"success": True, "data": {"type": "FeatureCollection", "features": [feature]}}
    api.answers["/v3/chats/[^/]*/location"] = lambda handler, _: handler.send(body)
    output = run_api(api, select=["messages", "chat_locations"])
    assert isinstance(output.error, IncompleteRunError | None)
    assert set(output.ids()) == ids(api)
