"""Which key a try sends with, if it sends at all: pure decisions, as a table of all that can have happened before."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from itertools import product
from typing import Any, NamedTuple

import pytest

from airflow_provider_linq._internal.idempotency import (
    IdempotencyRecord,
    check_key,
    content_digest,
    decide_send,
    derive_key,
    must_look,
    recipient_fingerprint,
    task_key,
)
from airflow_provider_linq._internal.key_lifetimes import KEY_TRUST
from airflow_provider_linq._internal.once import OnClear, Status
from airflow_provider_linq._internal.version_compat import AirflowFailException
from linq_client import InvalidRequestError, message_from
from linq_client.models import MediaPart, TextPart
from linq_client.times import format_datetime

ANN, BOB = recipient_fingerprint(None, "+12125550121"), recipient_fingerprint(None, "+12125550122")
NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
RESULT = {"message_id": "m", "chat_id": "c"}


@dataclass(frozen=True)
class Instance:
    """A task instance in its first try; each clear raises `max_tries`."""

    dag_id: str = "campaign"
    run_id: str = "manual__2026-03-01"
    task_id: str = "conversation.send"
    map_index: int | None = -1
    max_tries: int = 2
    try_number: int = 1
    id: str = "a"


FIRST = Instance()
RETRY = Instance(try_number=2)
CLEARED = Instance(try_number=2, max_tries=4)
MAPPED = Instance(map_index=3)
KEY, RESEND_KEY = task_key(FIRST, ANN), task_key(CLEARED, ANN, CLEARED.max_tries)


def record(status: Status, *, recipient: str = ANN, ended: bool = True, key: str = KEY) -> IdempotencyRecord:
    result = RESULT if status is Status.COMPLETED else None
    started_at = None if status is Status.NOT_SENT else format_datetime(NOON)
    return IdempotencyRecord(
        status=status,
        recipient=recipient,
        max_tries=FIRST.max_tries,
        result=result,
        ended=ended,
        key=key,
        started_at=started_at,
        requested_at=started_at,
    )


class Case(NamedTuple):
    """What was before, and what a try makes of it."""

    what: str
    instance: Instance
    before: IdempotencyRecord | None
    on_clear: OnClear
    given: str | None
    does: str
    key: str


NOT_SENT, IN_PROGRESS, COMPLETED = record(Status.NOT_SENT), record(Status.IN_PROGRESS), record(Status.COMPLETED)
KILLED, KILLED_AFTER = record(Status.IN_PROGRESS, ended=False), record(Status.COMPLETED, ended=False)
KEEP, RESEND = "keep", "resend"
SEND, LOOK, REPEAT, RETURN, FAIL = "sends", "sends, may have been sent unrecorded", "repeats", "returns", "fails"

TABLE = [
    Case("first try", FIRST, None, "keep", None, SEND, KEY),
    Case("first try, key given", FIRST, None, "keep", "k", SEND, "k"),
    Case("first try, will resend", FIRST, None, "resend", None, SEND, task_key(FIRST, ANN, 2)),
    # Without a record: Airflow 3.2, a store that was emptied, a mapped instance that was for somebody else before.
    Case("no record, retry", RETRY, None, "keep", None, LOOK, KEY),
    Case("no record, retry, key given", RETRY, None, "keep", "k", LOOK, "k"),
    Case("no record, cleared", CLEARED, None, "keep", None, LOOK, KEY),
    Case("no record, retry, will resend", RETRY, None, "resend", None, SEND, task_key(FIRST, ANN, 2)),
    Case("no record, cleared, resend", CLEARED, None, "resend", None, SEND, RESEND_KEY),
    # Nothing was sent: the next try is free.
    Case("refused, retry", RETRY, NOT_SENT, "keep", None, SEND, KEY),
    Case("refused, retry, other key", RETRY, NOT_SENT, "keep", "k", SEND, "k"),
    Case("refused, cleared", CLEARED, NOT_SENT, "keep", None, SEND, KEY),
    Case("refused, cleared, resend", CLEARED, NOT_SENT, "resend", None, SEND, RESEND_KEY),
    Case("refused for Bob, retry for Ann", RETRY, replace(NOT_SENT, recipient=BOB), "keep", None, SEND, KEY),
    # In doubt: the key stays in force.
    Case("no answer, retry", RETRY, IN_PROGRESS, "keep", None, REPEAT, KEY),
    Case("no answer, retry, other key", RETRY, IN_PROGRESS, "keep", "k", REPEAT, KEY),
    Case("no answer, retry, now resend", RETRY, IN_PROGRESS, "resend", None, REPEAT, KEY),
    Case("no answer, cleared", CLEARED, IN_PROGRESS, "keep", None, REPEAT, KEY),
    Case("no answer, cleared, same key", CLEARED, replace(IN_PROGRESS, key="k"), "keep", "k", REPEAT, "k"),
    Case("no answer, cleared, other key", CLEARED, IN_PROGRESS, "keep", "k", SEND, "k"),
    Case("no answer, cleared, resend", CLEARED, IN_PROGRESS, "resend", None, SEND, RESEND_KEY),
    Case("killed, retry", RETRY, KILLED, "keep", None, REPEAT, KEY),
    Case("killed, cleared: like a retry", CLEARED, KILLED, "keep", None, REPEAT, KEY),
    Case("cleared while it ran: like a retry", CLEARED, KILLED, "resend", None, REPEAT, KEY),
    Case("cleared while it ran, other key: like a retry", CLEARED, KILLED, "keep", "k", REPEAT, KEY),
    # Sent.
    Case("sent, retry", RETRY, COMPLETED, "keep", None, RETURN, KEY),
    Case("sent, retry, other key", RETRY, COMPLETED, "keep", "k", RETURN, KEY),
    Case("sent, retry, now resend", RETRY, COMPLETED, "resend", None, RETURN, KEY),
    Case("sent, cleared", CLEARED, COMPLETED, "keep", None, RETURN, KEY),
    Case("sent, cleared, other key", CLEARED, COMPLETED, "keep", "k", RETURN, KEY),
    Case("sent, cleared, resend", CLEARED, COMPLETED, "resend", None, SEND, RESEND_KEY),
    Case("sent, cleared while it waited: like a retry", CLEARED, KILLED_AFTER, "resend", None, RETURN, KEY),
    # The record of somebody else, of a task that is not mapped.
    Case("sent to Bob, retry", RETRY, replace(COMPLETED, recipient=BOB), "keep", None, FAIL, ""),
    Case("sent to Bob, cleared", CLEARED, replace(COMPLETED, recipient=BOB), "keep", None, FAIL, ""),
    Case("no answer for Bob, retry", RETRY, replace(IN_PROGRESS, recipient=BOB), "keep", None, FAIL, ""),
    Case("sent to Bob, cleared, resend", CLEARED, replace(COMPLETED, recipient=BOB), "resend", None, SEND, RESEND_KEY),
    Case("sent to Bob, cleared as it ran", CLEARED, replace(KILLED_AFTER, recipient=BOB), "resend", None, FAIL, ""),
]


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.what)
def test_what_a_try_does(case: Case) -> None:
    if case.does == FAIL:
        with pytest.raises(AirflowFailException, match="was for another recipient"):
            decide_send(case.instance, case.before, case.given, case.on_clear, recipient=ANN)
        return
    decision = decide_send(case.instance, case.before, case.given, case.on_clear, recipient=ANN)
    status = decision.record.status
    does = {Status.IN_PROGRESS: REPEAT, Status.COMPLETED: RETURN}.get(status, LOOK if decision.is_unrecorded else SEND)
    assert (does, decision.record.key) == (case.does, case.key)
    assert decision.record.recipient == ANN
    assert not decision.record.ended, "the try has only begun"
    assert decision.record.max_tries == case.instance.max_tries, "from here on, another number means another clear"
    assert decision.record.result == (RESULT if does == RETURN else None)
    assert decision.record.started_at == (format_datetime(NOON) if does in (REPEAT, RETURN) else None)


def test_the_table_has_every_combination() -> None:
    """Of what is on record, whether the task was cleared, and what a clear does."""
    had = {(case.before and (case.before.status, case.before.ended), case.instance, case.on_clear) for case in TABLE}
    statuses = [None, (Status.NOT_SENT, True), (Status.IN_PROGRESS, True), (Status.COMPLETED, True)]
    missing = set(product(statuses, (RETRY, CLEARED), (KEEP, RESEND))) - had
    assert missing == {((Status.NOT_SENT, True), RETRY, RESEND)}, "after a refusal, a retry is a first try"
    assert {(Status.IN_PROGRESS, False), (Status.COMPLETED, False)} <= {before for before, _, _ in had}


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("sent, cleared", "on_clear is 'keep'"),
        ("sent, cleared, resend", "on_clear is 'resend'"),
        ("no answer, cleared, other key", "its idempotency_key is new"),
        ("no answer, retry, other key", "the key of the first try stays in force"),
        ("sent, retry", None),
        ("first try", None),
    ],
)
def test_what_the_log_says(case: str, words: str | None) -> None:
    (found,) = (row for row in TABLE if row.what == case)
    note = decide_send(found.instance, found.before, found.given, found.on_clear, recipient=ANN).note
    assert (words in note) if words and note else note is words


def test_a_given_key_and_resend_exclude_each_other() -> None:
    with pytest.raises(InvalidRequestError, match="not with on_clear='resend'"):
        decide_send(FIRST, None, "order-7", "resend", recipient=ANN)


def test_a_second_clear_sends_a_third_message() -> None:
    again = decide_send(CLEARED, COMPLETED, None, "resend", recipient=ANN).record
    sent = replace(again.completed(RESULT), ended=True)
    third = decide_send(replace(CLEARED, try_number=3, max_tries=7), sent, None, "resend", recipient=ANN).record
    assert third.status is Status.NOT_SENT
    assert len({KEY, again.key, third.key}) == 3


def test_a_key_is_the_same_in_every_try() -> None:
    for instance in (FIRST, MAPPED):
        assert task_key(instance, ANN) == task_key(replace(instance, try_number=2, max_tries=5, id="b"), ANN)


def test_a_key_stays_the_same_in_later_versions() -> None:
    # A task may be retried after an upgrade: another key would send its message a second time.
    assert KEY == "airflow-57e0d4bf647f68525f2396b6f85f3a2b15694ffd683e12d8e9a11b913f900d82"
    assert task_key(MAPPED, ANN) == "airflow-440cafa3dfe89617345b0e068dd96417aae2416e2235bbdd16852439ad2bfd97"


def test_the_key_of_a_task_has_no_recipient_and_that_of_a_mapped_one_no_index() -> None:
    assert task_key(FIRST, ANN) == task_key(FIRST, BOB), "it may render differently in a retry"
    assert task_key(MAPPED, ANN) == task_key(replace(MAPPED, map_index=0), ANN), "the list may change until a clear"
    assert task_key(MAPPED, ANN) != task_key(MAPPED, BOB)
    assert task_key(replace(FIRST, map_index=None), ANN) == KEY


@pytest.mark.parametrize("instance", [FIRST, MAPPED])
@pytest.mark.parametrize(
    "other",
    [
        {"dag_id": "other"},
        {"run_id": "other"},
        {"task_id": "other"},
        {"dag_id": "campaign manual__2026-03-01", "run_id": ""},
    ],
)
def test_a_key_is_of_one_task_alone(instance: Instance, other: dict[str, Any]) -> None:
    assert task_key(replace(instance, **other), ANN) != task_key(instance, ANN)


def test_a_key_is_never_too_long() -> None:
    assert len(task_key(Instance("d" * 250, "r" * 250, "t" * 250), ANN)) < 255
    assert derive_key("a", 1) != derive_key("a", "1")


def test_a_recipient_is_whom_a_message_is_for_in_any_order_and_from_any_line() -> None:
    ann, mail = "+12125550121", "Bob@Example.com"
    assert recipient_fingerprint(None, [ann, mail]) == recipient_fingerprint(None, (mail.lower(), ann))
    assert recipient_fingerprint(None, ann) == recipient_fingerprint(None, [ann])
    others = [("c", None), ("d", None), (None, ann), (None, mail), (None, [ann, mail])]
    assert len({recipient_fingerprint(*other) for other in others}) == 5


@pytest.mark.parametrize("key", ["", " ", "None", "null", " None ", "order-None", "None_2026", "shop:None:7"])
def test_what_a_template_makes_of_nothing_is_no_key(key: str) -> None:
    with pytest.raises(InvalidRequestError, match="idempotency_key: must tell this message from others"):
        check_key(key)


def test_the_chat_is_read_first_where_the_key_may_be_forgotten() -> None:
    """Or may not be known: on another line."""

    def looks(age: timedelta, *, line_is_known: bool) -> bool:
        return must_look(format_datetime(NOON), line_is_known=line_is_known, now=NOON + age)

    assert [looks(age, line_is_known=True) for age in (timedelta(0), KEY_TRUST, KEY_TRUST * 1.01)] == [
        False,
        False,
        True,
    ]
    assert looks(timedelta(0), line_is_known=False)


def test_a_digest_tells_contents_apart_and_nothing_of_the_text() -> None:
    """What the platform answers with has more fields, other ids, and may have other white space."""
    sent = message_from(["Your code is 1234 ", {"type": "media", "url": "https://a.example/a.png"}])
    back = [TextPart(type="text", value="Your code is 1234"), MediaPart(type="media", id="m", url="https://b.example")]
    assert content_digest(sent.parts) == content_digest(back)
    assert content_digest(sent.parts) != content_digest(message_from("Your code is 1235").parts)
    assert len(content_digest(sent.parts)) == 8, "too short to find the text by trying"
