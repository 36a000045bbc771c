"""How a try begins: with the checkpoint that earlier tries and other tasks have left, or with a new one."""

from __future__ import annotations

import logging
from datetime import datetime

from airflow_provider_linq._internal import durable
from airflow_provider_linq._internal.durable import StateStore
from airflow_provider_linq._internal.once import TaskInstance
from airflow_provider_linq.campaigns._checkpoint import MAX_LINES, Checkpoint, earliest, requests_until
from airflow_provider_linq.campaigns._header import Header
from airflow_provider_linq.campaigns._journal import Claim, Journal, Release, key_of
from airflow_provider_linq.campaigns._model import Outcome
from airflow_provider_linq.campaigns._outcomes import FailureCodes, state_of
from airflow_provider_linq.campaigns._packed_states import PackedStates, shards_for
from airflow_provider_linq.campaigns._state import SETTLED, TERMINAL, RecipientState
from airflow_provider_linq.campaigns._validate import ValidatedRows
from linq_client.times import format_datetime

log = logging.getLogger(__name__)


def open_checkpoint(
    store: StateStore,
    header: Header | None,
    campaign_key: str,
    ti: TaskInstance,
    rows: ValidatedRows,
    journal: Journal | None,
    *,
    now: datetime,
    unrecorded_since: datetime | None,
) -> Checkpoint:
    """
    Continue with the checkpoint of a campaign, or begin one.

    :param header: of an earlier try, or None.
    :param now: by the API's clock.
    :param unrecorded_since: since when requests may have been made that are not on record, as where Airflow has no
        store; None if there can't have been any.
    :raises FormatError: what an earlier try wrote is of another version.
    """
    keys = [recipient.key for recipient in (*rows.recipients, *rows.unsendable)]
    is_cleared = header is not None and header.was_cleared(ti)
    is_known = header is not None and header.campaign_key == campaign_key
    if header is None or not is_known:
        header = Header(campaign_key, ti.max_tries, format_datetime(unrecorded_since or now), shards_for(len(keys)))
    states = PackedStates(
        keys, header.shards, durable.CAMPAIGN, first=header.first_shard, lost=RecipientState.CLAIMED_ANYWHERE
    )
    if is_known and states.load(store, has_changed=header.has_changed):
        # They may have been sent to at any time of the campaign.
        header.has_changed, header.in_doubt_since = True, header.started_at
        header.open_until = format_datetime(now)
    elif not is_known and unrecorded_since is not None:
        header.in_doubt_since = format_datetime(unrecorded_since)
        header.open_until = format_datetime(requests_until(journal, now))
        states.fill(RecipientState.CLAIMED_ANYWHERE)
    if (needed := shards_for(len(keys))) > header.shards:
        # Written before the header names them: if this process dies in between, the header still names the old values.
        states, header.first_shard = states.split_further(needed), header.first_shard + header.shards
        header.shards = needed
        states.save(store)
    for key, code in list(states):
        if code == RecipientState.UNKNOWN:
            states[key] = RecipientState.CLAIMED_ANYWHERE
        elif code == RecipientState.FAILED and is_cleared:
            states[key] = RecipientState.PENDING
    codes = FailureCodes()
    claims, adopted = ({}, []) if journal is None else _read_journal(journal, states, header, codes, is_known=is_known)
    if len(keys) < header.recipients:
        log.warning("There are %d recipients, and were %d in an earlier run", len(keys), header.recipients)
    header.recipients = len(keys)
    header.max_tries = ti.max_tries
    if header.try_number != ti.try_number:  # it was not only deferred
        header.try_number, header.try_began = ti.try_number, format_datetime(now)
    header.result, header.ended = None, False
    return Checkpoint(store, header, states, journal, claims, adopted, codes, now)


def _read_journal(
    journal: Journal, states: PackedStates, header: Header, codes: FailureCodes, *, is_known: bool
) -> tuple[dict[str, Claim], list[Outcome]]:
    """Take over what the journal knows and the store does not; return claims that are open, and what others sent."""
    found: dict[str, tuple[str, Claim]] = {}
    of_others: dict[str, Outcome] = {}
    for writer, entry in journal.read():
        key = key_of(entry)
        if key not in states:
            continue
        is_mine = writer.task == journal.writer.task
        if isinstance(entry, Claim):
            if is_mine and is_known:  # the store says the same, and says it later; earlier ones were resolved before
                found.pop(key, None)
            else:
                found[key] = writer.task, entry
        elif isinstance(entry, Release):
            if key in found and found[key][0] == writer.task:  # the claim of another task stands
                del found[key]
        elif entry.status != "unknown":
            found.pop(key, None)
            state = state_of(entry)
            # What another run was refused is asked again, as is what failed before a clear.
            is_of_this_run = is_mine and not is_known
            is_cleared = writer.max_tries != journal.writer.max_tries
            if state is RecipientState.SENT or (
                is_of_this_run and state in TERMINAL and not (state is RecipientState.FAILED and is_cleared)
            ):
                states[key] = state
            if is_mine:
                of_others.pop(key, None)
                codes.note(key, entry)
            elif state is RecipientState.SENT:
                of_others[key] = entry
    claims = {key: claim for key, (_, claim) in found.items() if states[key] not in SETTLED}
    for key, claim in claims.items():
        if (claim.line or "") not in header.lines:
            header.lines.append(claim.line or "")
        number = MAX_LINES if claim.line is None else header.lines.index(claim.line)
        states[key] = RecipientState.CLAIMED + number if number < MAX_LINES else RecipientState.CLAIMED_ANYWHERE
        header.in_doubt_since = earliest(header.in_doubt_since, claim.at)
    return claims, list(of_others.values())
