"""Requests that the API takes without an idempotency key: made at most once, whatever happens to the task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar, cast

from airflow_provider_linq._internal.durable import AT_MOST_ONCE
from airflow_provider_linq._internal.fail_fast import fail_fast
from airflow_provider_linq._internal.idempotency import recipient_fingerprint
from airflow_provider_linq._internal.once import (
    OnClear,
    RecordStore,
    RequestRecord,
    Status,
    TaskInstance,
    once,
)
from airflow_provider_linq._internal.version_compat import AirflowFailException, AirflowSkipException
from linq_client import Effect, LinqError

if TYPE_CHECKING:
    from airflow.sdk import Context

P = TypeVar("P")
R = TypeVar("R", bound=Mapping[str, Any])


class Step(Enum):
    """What a try does."""

    MAKE = "make"
    RETURN = "return"
    REFUSE = "refuse"
    #: An earlier try made the request, or may have, for another chat.
    REFUSE_OTHER_CHAT = "refuse other chat"


def decide_request(
    ti: TaskInstance,
    record: RequestRecord | None,
    on_clear: OnClear,
    *,
    recipient: str,
    has_store: bool,
) -> Step:
    """
    Decide whether a try makes the request, returns the result of an earlier one, or refuses.

    :param record: what an earlier try left; None if nothing.
    :param recipient: fingerprint of the chat that the request is for now.
    :param has_store: whether a record could have been left at all.
    """
    if record is None:
        # Without a store, or where Airflow empties it when the task succeeds ([state_store] clear_on_success), nobody
        # knows what an earlier try did. In a store that is only emptied so, a try without a record follows a clear; so
        # does the try of a mapped instance that was for another chat before.
        may_be_made = ti.try_number == 1 or (has_store and on_clear == "resend")
        return Step.MAKE if may_be_made else Step.REFUSE
    if record.status is Status.NOT_SENT or (record.is_cleared(ti.max_tries) and on_clear == "resend"):
        return Step.MAKE
    if record.recipient != recipient:
        return Step.REFUSE_OTHER_CHAT
    return Step.RETURN if record.status is Status.COMPLETED else Step.REFUSE


def run_at_most_once(
    context: Context,
    what: str,
    chat_id: str,
    on_clear: OnClear,
    request: Callable[[P], R],
    *,
    prepare: Callable[[], P],
    is_stopped: Callable[[], bool],
    too_late: Callable[[], str | None],
) -> R:
    """
    Make a request that must not be repeated, unless an earlier try has made it or may have made it.

    :param what: for messages, "The voice memo" for example.
    :param chat_id: the chat that it is for; what an earlier try did in another one is not taken for it.
    :param on_clear: "resend" makes it again when the task has been cleared.
    :param request: gets what ``prepare`` returned.
    :param prepare: what may be done any number of times, an upload for example; only before a request is made.
    :param is_stopped: whether Airflow has told the task to stop.
    :param too_late: says why it must not be made any more, if that is so.
    :raises AirflowSkipException: it is too late.
    :raises AirflowFailException: it may have been made and nobody knows what came of it, or no retry can fix it.
    """
    ti = context["ti"]
    recipient = recipient_fingerprint(chat_id, None)
    blank = RequestRecord(status=Status.NOT_SENT, recipient=recipient, max_tries=ti.max_tries)
    store = RecordStore(context, AT_MOST_ONCE, blank)
    with store.noting_end(is_stopped):
        record = store.record
        step = decide_request(ti, record, on_clear, recipient=recipient, has_store=bool(store))
        if step is Step.MAKE:
            if (late := too_late()) is not None:
                raise AirflowSkipException(f"{late}. Nothing was sent")
            return _make(store, blank, what, request, prepare)
        if record is not None:
            store.save(replace(record, max_tries=ti.max_tries, ended=False))
        if step is Step.RETURN and record is not None:
            return cast(R, record.result)
        if step is Step.REFUSE_OTHER_CHAT:
            raise AirflowFailException(
                f"{what} of an earlier try of this task was for another chat: make another run for it"
            )
        raise AirflowFailException(_unknown(what, "in an earlier try"))


def _make(
    store: RecordStore[RequestRecord],
    blank: RequestRecord,
    what: str,
    request: Callable[[P], R],
    prepare: Callable[[], P],
) -> R:
    store.save(blank)
    with fail_fast():
        prepared = prepare()
        in_progress = replace(blank, status=Status.IN_PROGRESS)
        try:
            with once(store, in_progress, otherwise=blank):
                result = request(prepared)
        except LinqError as error:
            if error.effect is Effect.NONE:
                raise
            raise AirflowFailException(f"{_unknown(what, 'now')}: {error}") from error
    store.save(in_progress.completed(result))
    return result


def _unknown(what: str, when: str) -> str:
    return (
        f"{what} may have been sent {when}, and the API has no idempotency key for it, so it is not sent again. "
        "Look into the chat; with on_clear='resend', clearing the task sends it once more"
    )
