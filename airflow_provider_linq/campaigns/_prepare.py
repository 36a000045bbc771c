"""Before anything is sent: the campaign's key, its lines, its message and its rows, all of them checked."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

from airflow_provider_linq._internal.once import is_mapped
from airflow_provider_linq._internal.version_compat import AirflowFailException, storage_path
from airflow_provider_linq.campaigns._files import write_rows
from airflow_provider_linq.campaigns._journal import COLUMNS, Journal, Latest, as_row
from airflow_provider_linq.campaigns._lines import Lines
from airflow_provider_linq.campaigns._model import CampaignResult, Outcome
from airflow_provider_linq.campaigns._rows import rows_from
from airflow_provider_linq.campaigns._sandbox import MessageEnvironment
from airflow_provider_linq.campaigns._shards import WHOLE
from airflow_provider_linq.campaigns._state import RecipientState
from airflow_provider_linq.campaigns._summary import count_rows, skipped_in_words
from airflow_provider_linq.campaigns._suppression import read_suppression
from airflow_provider_linq.campaigns._templates import Render, columns_named, compiled, names_in_messages
from airflow_provider_linq.campaigns._validate import ValidatedRows, format_rejections, validate_rows
from airflow_provider_linq.campaigns.config import Campaign, share_of
from linq_client import InvalidRequestError, LinqClient

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """
    A campaign that may begin.

    :param key: the campaign key in force.
    :param render: makes the message of a row.
    :param rows: those that can be sent to, and the others.
    """

    campaign: Campaign
    key: str
    lines: Lines
    render: Render
    rows: ValidatedRows


def prepare(campaign: Campaign, context: Context, key: str, default_line: str | None, client: LinqClient) -> Prepared:
    """
    Read and check everything that a campaign needs; rows are read anew in each run.

    :param key: the campaign key in force.
    :param default_line: of the connection.
    :raises InvalidRequestError: an argument is wrong.
    """
    pool = campaign.pool(default_line)
    if not pool and campaign.line_limits.messages_per_minute is not None:
        raise InvalidRequestError(
            "line_limits: messages_per_minute needs lines, and the platform chooses them: give total_limits, got "
            f"{campaign.line_limits.messages_per_minute:g}"
        )
    env = MessageEnvironment(context.get("dag"))
    render = compiled(campaign.message, env, context, names_in_messages(context, campaign.values))
    lines = Lines(client, pool, weighs_reputation=campaign.campaign_key is None and campaign.part.is_whole)
    rows = validate_rows(
        rows_from(
            campaign.rows,
            campaign.rows_path,
            campaign.sql,
            sql_conn_id=campaign.sql_conn_id,
            parameters=campaign.parameters,
            null_values=campaign.null_values,
        ),
        render,
        campaign_key=key,
        to_field=campaign.to_field,
        timezone=campaign.timezone,
        timezone_field=campaign.timezone_field,
        first_in_chat=bool(pool),
        groups=campaign.groups,
        suppressed=read_suppression(campaign),
        named=columns_named(campaign.message, env),
        files=campaign.files,
        shard=WHOLE if campaign.dry_run else campaign.part,  # each shard writes the same plan of all
    )
    limits = (campaign.line_limits.new_chats_per_day, campaign.total_limits.new_chats_per_day)
    # Where everybody may be somebody new, nobody has to know who is.
    if len(pool) > 1 or any(limit is not None and limit < len(rows.recipients) for limit in limits):
        lines.find_chats({recipient.to for recipient in rows.recipients})
    return Prepared(campaign, key, lines, render, rows)


def check_identity(campaign: Campaign, context: Context, *, has_store: bool) -> None:
    """
    Refuse a campaign that another try could not distinguish from others, or could not end.

    :param has_store: whether Airflow has a task state store.
    :raises InvalidRequestError: an argument is missing.
    """
    if campaign.campaign_key is None and campaign.shard is None and is_mapped(context["ti"]):
        raise InvalidRequestError(
            "campaign_key: must be given in a mapped task, where instances can change places, got none"
        )
    if campaign.campaign_key is None and not campaign.part.is_whole and not is_mapped(context["ti"]):
        raise InvalidRequestError(
            "campaign_key: must be given with shard in a task that is not mapped, since by default nobody else sends "
            f"to the other shards, got none with shard {campaign.part}"
        )
    if campaign.resend_failed and not has_store:
        raise InvalidRequestError(
            "resend_failed: must be false where Airflow has no task state store (before 3.3), since nothing would "
            "say when a try began, got true"
        )
    if campaign.send_window and campaign.timezone_field and not has_store and campaign.outcomes_path is None:
        raise InvalidRequestError(
            "outcomes_path: must be given with send_window and timezone_field where Airflow has no task state store "
            "(before 3.3): else each window would begin with everybody again, got none"
        )


def reject_invalid(prepared: Prepared, journal: Journal | None, *, is_first: bool) -> None:
    """
    Refuse a campaign with more invalid rows than it may have, and log what is wrong with them.

    :param journal: names those to whom an earlier try may have sent, if it died before it wrote the outcomes.
    :param is_first: whether this is the first try, so that an outcomes file that is there is of no use any more.
    :raises AirflowFailException: `on_invalid` is "fail", all rows are invalid, or more than `max_invalid`.
    """
    campaign, rows = prepared.campaign, prepared.rows.of_all_shards
    if not rows.excluded:
        return
    is_fault = len(rows.excluded) > rows.suppressed and campaign.on_invalid == "fail"
    is_all = not rows.recipients and not rows.suppressed
    text = format_rejections(rows.excluded, len(rows))
    most = len(rows) if campaign.max_invalid is None else share_of(campaign.max_invalid, len(rows))
    if is_fault or is_all or rows.invalid > most:
        if campaign.outcomes_path and journal is not None:
            is_new = not storage_path(campaign.outcomes_path).exists()
            if is_new or (is_first and journal.is_empty):
                write_rows(campaign.outcomes_path, map(as_row, _before_sending(rows, journal)), COLUMNS)
        rule = f", and max_invalid is {campaign.max_invalid:g}" if not is_all and rows.invalid > most else ""
        raise AirflowFailException(f"Nothing was sent in this try{rule}. {text}")
    log.warning("%s", text)


def _before_sending(rows: ValidatedRows, journal: Journal) -> Iterator[Outcome]:
    """Yield the rows that are excluded, and what became of others in earlier tries."""
    yield from rows.excluded
    with TemporaryFile() as file:
        yield from Latest(file, (entry for _, entry in journal.read())).rest()


def dry_run(prepared: Prepared) -> CampaignResult:
    """Write what would be sent to the outcomes file, and send nothing; of a shard, count its own."""
    campaign, rows, shard = prepared.campaign, prepared.rows, prepared.campaign.part

    def planned() -> Iterator[dict[str, Any]]:
        for recipient in rows.recipients:
            assert recipient.row is not None
            yield {
                "row": recipient.number,
                "to": recipient.to,
                "status": "pending",
                "idempotency_key": recipient.key,
                "line": prepared.lines.choose(recipient.to, recipient.key),
                "message": prepared.render(recipient.row),
            }
        yield from map(as_row, rows.excluded)

    columns = ("row", "to", "status", "reason", "detail", "idempotency_key", "line", "message")
    write_rows(str(campaign.outcomes_path), planned(), columns)
    states = Counter({RecipientState.PENDING: sum(shard.has(one.to) for one in rows.recipients)})
    excluded = Counter(str(outcome.reason) for outcome in rows.excluded if shard.has(outcome.to))
    result = count_rows(prepared.key, campaign.outcomes_path, states, excluded)
    log.info("Dry run: %s", ", ".join([f"{len(rows.recipients):,} would be sent to", *skipped_in_words(result)]))
    if rows.excluded:
        log.info("%s", format_rejections(rows.excluded, len(rows)))
    return result
