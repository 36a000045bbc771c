"""What a campaign remembers of itself from one try to the next."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field

from airflow_provider_linq._internal import durable
from airflow_provider_linq._internal.durable import StateStore
from airflow_provider_linq._internal.idempotency import instance_key, unmapped_key
from airflow_provider_linq._internal.once import TaskInstance
from airflow_provider_linq.campaigns._model import CampaignResult

log = logging.getLogger(__name__)


@dataclass
class Header:
    """
    What a campaign remembers of itself.

    :param campaign_key: in force since the first try, whatever its template renders to later.
    :param max_tries: of the task instance; another number now means that it was cleared, if the task had ended.
    :param started_at: when the campaign first sent, by the API's clock (RFC 3339), as are all times here.
    :param shards: how many values the recipients are split into.
    :param first_shard: the number of the first of them; those before held fewer recipients.
    :param owner: a token of the process that writes; another one means that another try has taken over.
    :param recipients: how many there were in the latest run.
    :param lines: own lines by number, "" for the platform's choice; only ever appended to (I3).
    :param has_changed: whether the input has, so that states may be lost of recipients who are not in it at present.
    :param in_doubt_since: when the oldest request was made whose outcome is not on record (I4).
    :param open_until: not before the latest of those requests was made.
    :param days: messages and new chats of each line on a day (UTC): ``{"2026-03-01": {"+1…": [messages, new chats]}}``.
    :param result: of the sending, for the delivery report.
    :param deadline: until when the delivery report waits.
    :param try_number: of the try that `try_began` is about.
    :param try_began: when that try first ran: what was sent before, and has failed, can be sent again in it.
    :param shard: whose recipients the states are about, as "2/4"; None for all.
    :param generation: of the division whose part of the limits `days` counts against; 0 if there was never one.
    :param ended: whether the latest try has ended by itself: not killed, not stopped, not deferred.
    """

    campaign_key: str
    max_tries: int
    started_at: str
    shards: int
    owner: str = ""
    first_shard: int = 0
    recipients: int = 0
    lines: list[str] = field(default_factory=list)
    has_changed: bool = False
    in_doubt_since: str | None = None
    open_until: str | None = None
    days: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    result: CampaignResult | None = None
    deadline: str | None = None
    try_number: int | None = None
    try_began: str | None = None
    ended: bool = False
    shard: str | None = None
    generation: int = 0

    @classmethod
    def load(cls, store: StateStore) -> Header | None:
        return durable.read("record of the campaign", store.get(durable.CAMPAIGN), cls)

    def save(self, store: StateStore) -> None:
        values = asdict(self)
        for name in ("shard", "generation"):  # what has no shards is written as it always was
            if not values[name]:
                del values[name]
        store.set(durable.CAMPAIGN, durable.write(values))

    def was_cleared(self, ti: TaskInstance) -> bool:
        """Whether the task was cleared since it ended; one that is cleared while it runs is only retried."""
        return self.ended and self.max_tries != ti.max_tries


def key_in_force(header: Header | None, given: str | None, ti: TaskInstance, *, is_shard: bool) -> str:
    """
    Return the campaign key: that of the first try, unless the task was cleared and has another one since.

    :param is_shard: whether all instances of the task send one campaign.
    """
    key = given if given is not None else unmapped_key(ti) if is_shard else instance_key(ti)
    if header is None or header.campaign_key == key or header.was_cleared(ti):
        return key
    log.warning("campaign_key renders differently in this try: that of the first try stays in force")
    return header.campaign_key


def note_end(store: StateStore, *, is_failure: bool = False) -> None:
    """
    Note that the try has ended by itself, which tells a later clear from a clear of a running task.

    :param is_failure: another error is on its way, which an error of the store must not hide.
    """
    try:
        header = Header.load(store)
        if header is not None and not header.ended:
            header.ended = True
            header.save(store)
    except Exception as error:
        if not is_failure:
            raise
        log.warning("The end of the try could not be noted: %s", type(error).__name__)
