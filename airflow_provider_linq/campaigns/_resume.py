"""How a try begins: with the checkpoint that earlier tries and other tasks have left, or with a new one."""

from __future__ import annotations

import logging
from collections import Counter
from datetime import datetime

from airflow_provider_linq._internal import durable
from airflow_provider_linq._internal.durable import StateStore
from airflow_provider_linq._internal.once import TaskInstance
from airflow_provider_linq.campaigns._checkpoint import MAX_LINES, Checkpoint, earliest, requests_until
from airflow_provider_linq.campaigns._header import Header
from airflow_provider_linq.campaigns._journal import Claim, Entry, Journal, Release, Writer, key_of
from airflow_provider_linq.campaigns._limits import Days
from airflow_provider_linq.campaigns._model import Outcome
from airflow_provider_linq.campaigns._outcomes import FailureCodes, state_of
from airflow_provider_linq.campaigns._packed_states import PackedStates, shards_for
from airflow_provider_linq.campaigns._shards import Shard
from airflow_provider_linq.campaigns._state import SETTLED, TERMINAL, RecipientState
from airflow_provider_linq.campaigns._validate import ValidatedRows
from linq_client.times import format_datetime, parse_datetime

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
    shard = None if journal is None else journal.shard.name
    is_known = header is not None and header.campaign_key == campaign_key and header.shard == shard
    is_resharded = header is not None and header.campaign_key == campaign_key and not is_known
    if header is not None and is_resharded:
        # Who was sent to by other instances, the journal alone tells; without it, anybody may have been.
        if journal is None or (header.lines and not journal.has_own):
            unrecorded_since = parse_datetime(header.started_at)
        header = _resharded(header, shard, len(keys))
    elif header is None or not is_known:
        header = Header(campaign_key, ti.max_tries, format_datetime(unrecorded_since or now), shards_for(len(keys)))
        header.shard = shard
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
    shared = None
    generation = 0 if journal is None else journal.owner.generation
    if journal is not None and generation and not (is_known and header.generation == generation):
        shared = _SentBefore(generation, journal.shard, now)
    codes = FailureCodes()
    claims: dict[str, Claim] = {}
    adopted: list[Outcome] = []
    if journal is not None:
        claims, adopted = _read_journal(journal, states, header, codes, shared, is_known=is_known)
    if shared is not None:
        header.days, header.generation = shared.part_of_one(), generation
    if is_resharded:  # before the header names them, as above
        states.save(store)
    if len(keys) < header.recipients:
        log.warning("There are %d recipients, and were %d in an earlier run", len(keys), header.recipients)
    header.recipients = len(keys)
    header.max_tries = ti.max_tries
    if header.try_number != ti.try_number:  # it was not only deferred
        header.try_number, header.try_began = ti.try_number, format_datetime(now)
    header.result, header.ended = None, False
    return Checkpoint(store, header, states, journal, claims, adopted, codes, now)


def _resharded(header: Header, shard: str | None, recipients: int) -> Header:
    """Return the header of the same campaign for other recipients: their states are other values in the store."""
    return Header(
        header.campaign_key,
        header.max_tries,
        header.started_at,
        shards_for(recipients),
        first_shard=header.first_shard + header.shards,
        try_number=header.try_number,
        try_began=header.try_began,
        shard=shard,
    )


class _SentBefore:
    """
    Counts what was sent today: before the campaign was divided as it is, for all shards share what the limits leave,
    and since then to this shard, by another task.

    Whose claim was left open before, in another shard, counts as sent to: they may have been, and the part of their own
    shard may be too small for all of them.

    :param generation: of the division in force.
    :param now: by the API's clock.
    """

    def __init__(self, generation: int, shard: Shard, now: datetime) -> None:
        self._generation = generation
        self._shard = shard
        self._day = now.date().isoformat()
        self._before: dict[str, str] = {}
        self._since: dict[str, str] = {}
        self._open: dict[str, str] = {}

    def note(self, writer: Writer, entry: Entry) -> None:
        if not isinstance(entry, Claim):
            self._open.pop(key_of(entry), None)
        elif writer.generation < self._generation and entry.at.startswith(self._day) and not self._shard.has(entry.to):
            self._open[entry.key] = entry.line or ""
        if not isinstance(entry, Outcome) or entry.status != "sent":
            return
        if not (entry.created_at or "").startswith(self._day):
            return
        message = entry.message_id or key_of(entry)
        if writer.generation < self._generation:
            self._before[message] = entry.line or ""
        elif message not in self._before and self._shard.has(entry.to):
            self._since[message] = entry.line or ""

    def part_of_one(self) -> Days:
        """Return the part of this shard, rounded up; which of them have begun a chat nobody knows, so all count so."""
        before = Counter([*self._before.values(), *self._open.values()])
        since = Counter(self._since.values())
        parts = {line: -(-before[line] // self._shard.of) + since[line] for line in before | since}
        return {self._day: {line: [part, part] for line, part in parts.items()}} if parts else {}


def _read_journal(
    journal: Journal,
    states: PackedStates,
    header: Header,
    codes: FailureCodes,
    shared: _SentBefore | None,
    *,
    is_known: bool,
) -> tuple[dict[str, Claim], list[Outcome]]:
    """
    Take over what the journal knows and the store does not; return claims that are open, and what others sent.

    :param shared: counts what all have sent.
    """
    found: dict[str, tuple[str, Claim]] = {}
    of_others: dict[str, Outcome] = {}
    for writer, entry in journal.read():
        if shared is not None:
            shared.note(writer, entry)
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
