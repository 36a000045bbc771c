"""Requests that the API takes without an idempotency key: made once at most, whatever happens to the task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, cast

from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_linq._internal.fail_fast import fail_fast, was_refused
from airflow_provider_linq._internal.idempotency import (
    OnClear,
    Record,
    RecordStore,
    idempotency_key,
    recorded,
    target_of,
)
from linq_client import LinqError

if TYPE_CHECKING:
    from airflow.sdk import Context

RECORD: Final = "linq_unrepeatable"

P = TypeVar("P")
R = TypeVar("R", bound=Mapping[str, Any])

Step = Literal["make", "return", "refuse"]


def plan_request(record: Record | None, *, max_tries: int, has_store: bool, try_number: int, on_clear: OnClear) -> Step:
    """Decide whether a try makes the request, returns the result of an earlier one, or refuses.

    :param record: what an earlier try left before its request; it has a result if the outcome became known.
    :param max_tries: of the instance; another number than that of the record means that the task was cleared.
    :param has_store: whether a record could have been left at all.
    """
    if record is None:
        # Without a store, or where Airflow empties it when the task succeeds ([state_store] clear_on_success), nobody
        # knows what an earlier try did. In a store that is only emptied so, a try without a record follows a clear.
        return "make" if try_number == 1 or (has_store and on_clear == "resend") else "refuse"
    if record.unsent:
        return "make"
    if record.max_tries != max_tries and on_clear == "resend":
        return "make"
    return "refuse" if record.result is None else "return"


def once_at_most(
    context: Context, what: str, chat_id: str, on_clear: OnClear, request: Callable[[P], R], *, prepare: Callable[[], P]
) -> R:
    """
    Make a request that must not be repeated, unless an earlier try has made it or may have made it.

    :param what: for messages, "The voice memo" for example.
    :param chat_id: the chat that it is for; what an earlier try did in another one is not taken for it.
    :param on_clear: "resend" makes it again when the task has been cleared.
    :param request: gets what ``prepare`` returned.
    :param prepare: what may be done any number of times, an upload for example; only before a request is made.
    :raises AirflowFailException: it may have been made and nobody knows what came of it, or no retry can mend it.
    """
    ti, store = context["ti"], RecordStore(context)
    record = store.load(RECORD)
    step = plan_request(
        record, max_tries=ti.max_tries, has_store=bool(store), try_number=ti.try_number, on_clear=on_clear
    )
    target = target_of(chat_id, None, None)
    if record is not None and step != "make" and record.target not in (None, target):
        raise AirflowFailException(
            f"{what} of an earlier try of this task was for another chat: make another run for it"
        )
    if step == "return" and record is not None:
        return cast(R, record.result)
    if step == "refuse":
        raise AirflowFailException(_unknown(what, "in an earlier try"))
    begun = Record(idempotency_key(ti), ti.max_tries, target=target)
    unsent = replace(begun, unsent=True)
    store.save(unsent, RECORD)
    with fail_fast():
        prepared = prepare()
    store.save(begun, RECORD)
    try:
        with fail_fast():
            result = request(prepared)
    except (LinqError, AirflowFailException) as error:
        if not was_refused(error):
            raise AirflowFailException(f"{_unknown(what, 'now')}: {error}") from error
        store.save(unsent, RECORD)
        raise
    store.save(recorded(begun, result), RECORD)
    return result


def _unknown(what: str, when: str) -> str:
    return (
        f"{what} may have been sent {when}, and the API has no idempotency key for it, so it is not sent again. "
        "Look into the chat; with on_clear='resend', clearing the task sends it once more"
    )
