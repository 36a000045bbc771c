"""From rows to recipients: the message is rendered and all rules are checked, before anything is sent."""

from __future__ import annotations

import heapq
import re
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from airflow_provider_linq._internal.uploads import NO_FILES, FileRules, check_message
from airflow_provider_linq.campaigns._model import Outcome, Recipient, compared, recipient_key
from airflow_provider_linq.campaigns._rows import BadRow, Row, is_missing
from airflow_provider_linq.campaigns._shards import WHOLE, Shard
from airflow_provider_linq.campaigns._templates import Render
from linq_client import InvalidRequestError, check_recipients, comparable_handle, normal_handle

#: How many examples of each problem a report has, and how many problems.
EXAMPLES: Final = 10
PROBLEMS: Final = 20

#: What people put between several handles in one cell.
_SEPARATORS: Final = re.compile(r"[,;|/\s]+")
#: A number with so few digits is an area code, or nothing but the country code that a form has filled in. Which lengths
#: are right in which country is the platform's to know: tables of it grow old, and then keep real people out.
_TOO_SHORT: Final = re.compile(r"\+\d{1,6}")


@dataclass
class ValidatedRows:
    """
    All rows of a campaign.

    :param recipients: whom to write to, in the order of the rows.
    :param excluded: the rows that are invalid, duplicates or suppressed, likewise.
    :param unsendable: the recipients of invalid and suppressed rows, as far as the row names them: an earlier try may
        have sent to them, when the row was valid, or they were not suppressed.
    :param elsewhere: the same of the rows that are other shards'; their recipients have no values.
    """

    recipients: list[Recipient] = field(default_factory=list)
    excluded: list[Outcome] = field(default_factory=list)
    unsendable: list[Recipient] = field(default_factory=list)
    elsewhere: ValidatedRows | None = None

    @property
    def of_all_shards(self) -> ValidatedRows:
        """All rows of the campaign, whichever shard they are in."""
        if self.elsewhere is None:
            return self
        return ValidatedRows(
            list(heapq.merge(self.recipients, self.elsewhere.recipients, key=lambda one: one.number)),
            list(heapq.merge(self.excluded, self.elsewhere.excluded, key=lambda one: one.row)),
            [*self.unsendable, *self.elsewhere.unsendable],
        )

    @property
    def invalid(self) -> int:
        """How many rows are invalid; duplicates and suppressed rows are not."""
        return sum(outcome.reason == "invalid" for outcome in self.excluded)

    @property
    def suppressed(self) -> int:
        """How many rows name somebody who must not be written to."""
        return sum(outcome.reason == "suppressed" for outcome in self.excluded)

    def __len__(self) -> int:
        return len(self.recipients) + len(self.excluded)


def validate_rows(
    rows: Iterable[Row | BadRow],
    render: Render,
    *,
    campaign_key: str,
    to_field: str,
    timezone: str,
    timezone_field: str | None,
    first_in_chat: bool,
    groups: bool = False,
    suppressed: Collection[str] = frozenset(),
    named: Collection[str] = (),
    files: FileRules = NO_FILES,
    shard: Shard = WHOLE,
) -> ValidatedRows:
    """
    Check every row, and tell those that can be sent from the others. The messages are rendered, but not kept.

    :param campaign_key: the keys of the recipients are made of it.
    :param to_field: column with a handle; or with several, as a list, for a group.
    :param timezone: IANA name, for rows that have none.
    :param timezone_field: column with the time zone of the recipient.
    :param first_in_chat: the message may be the first of its chat, so the rules for those apply.
    :param groups: whether text with several handles is a group, too. Lists of contacts have several numbers of one
        person in a cell: as a group, all of its people would see each other and the message.
    :param suppressed: handles, in the form to compare, of people who must not be written to, in groups either. What
        else is wrong with their rows is of no interest.
    :param named: columns that the message names.
    :param files: which files the messages may name.
    :param shard: whose rows are wanted; all others are checked, too, so that each shard refuses the same campaigns.
    :raises InvalidRequestError: ``timezone`` is none, or one of these columns is in no row.
    """
    default = _zone(timezone, "timezone")
    own = ValidatedRows(elsewhere=None if shard.is_whole else ValidatedRows())

    def found_of(to: tuple[str, ...]) -> ValidatedRows:
        return own if own.elsewhere is None or shard.has(to) else own.elsewhere

    numbers: dict[tuple[str, ...], int] = {}
    unsendable: dict[tuple[str, ...], Recipient] = {}
    columns: dict[str, None] = {}
    for number, row in enumerate(rows, start=1):
        found = found_of(())
        if isinstance(row, BadRow):
            found.excluded.append(Outcome(number, (), "skipped", "invalid", row.why))
            continue
        columns.update(dict.fromkeys(row))
        to: tuple[str, ...] = ()
        person: tuple[str, ...] = ()
        suppression = None
        readable: Row | None = row
        name = default
        try:
            to = handles_in(row.get(to_field), to_field, groups=groups)
            found = found_of(to)
            person = compared(to)
            if (earlier := numbers.get(person)) is not None:
                detail = f"{to_field}: must not be that of an earlier row, got that of row {earlier}"
                found.excluded.append(Outcome(number, to, "skipped", "duplicate", detail))
                continue
            suppression = _suppression_of(to, suppressed)
            zone = row.get(timezone_field) if timezone_field is not None else None
            name = default if is_missing(zone) else _zone(zone, str(timezone_field))
            message = check_message(render(row), files)
            if first_in_chat:
                message.check_first_in_chat()
        except (InvalidRequestError, ArithmeticError, TypeError, ValueError, RecursionError) as error:
            readable = None
            if suppression is None:
                found.excluded.append(Outcome(number, to, "skipped", "invalid", _detail_of(error)))
                if to:
                    unsendable[person] = Recipient(number, to, recipient_key(campaign_key, to), None, default)
                continue
        values = readable if found is own else None  # of the others, only who they are is wanted
        recipient = Recipient(number, to, recipient_key(campaign_key, to), values, name, suppression is not None)
        if suppression is not None:
            found.excluded.append(Outcome(number, to, "skipped", "suppressed", suppression))
            unsendable.setdefault(person, recipient)
            continue
        numbers[person] = number
        found.recipients.append(recipient)
    for person, one in unsendable.items():
        if person not in numbers:
            found_of(one.to).unsendable.append(one)
    if columns:
        _check_columns(columns, {"to_field": to_field, "timezone_field": timezone_field}, named)
    return own


def _suppression_of(to: tuple[str, ...], suppressed: Collection[str]) -> str | None:
    """Return the rule that keeps a recipient from being written to. It has no number, since logs show it."""
    among = [index for index, handle in enumerate(to) if comparable_handle(handle) in suppressed]
    if not among:
        return None
    return f"{f'to[{among[0]}]' if len(to) > 1 else 'to'}: must not be on the suppression list"


def _detail_of(error: Exception) -> str:
    """What no rule foresees, in values of any kind, is one row's fault; its words may quote the value."""
    if isinstance(error, InvalidRequestError):
        return str(error)
    return f"row: must have values that can be read, got {type(error).__name__}"


def _check_columns(columns: Mapping[str, None], fields: Mapping[str, str | None], named: Collection[str]) -> None:
    """Refuse names that no row knows: a typo would pass for a gap in every row."""
    there = ", ".join(sorted(map(str, columns))[:PROBLEMS])
    for argument, name in fields.items():
        if name is not None and name not in columns:
            raise InvalidRequestError(f"{argument}: must be a column of the rows, which have {there}; got {name!r}")
    if missing := sorted(set(named) - columns.keys()):
        raise InvalidRequestError(
            f"message: must name columns of the rows, which have {there}; got {', '.join(missing)}"
        )


def handles_in(value: Any, field: str, *, groups: bool) -> tuple[str, ...]:
    """
    Return the handles that a value of a row has, in their normal form, sorted.

    :param field: the column, for errors.
    :param groups: whether text may have several.
    :raises InvalidRequestError: it has none, or something else, or more than there may be.
    """
    if is_missing(value):
        raise InvalidRequestError(f"{field}: must be a handle, or a list of them for a group, got none")
    if hasattr(value, "tolist"):  # an array
        value = value.tolist()
    if isinstance(value, str) and _SEPARATORS.search(value):
        several = [handle for handle in _SEPARATORS.split(value) if handle]
        if not groups and len(several) > 1:
            # A number with spaces is no number either, but of one.
            if re.search("[,;|]", value) or sum(handle[0] == "+" or "@" in handle for handle in several) > 1:
                raise InvalidRequestError(
                    f"{field}: must be one handle, or a list for a group; with groups=True, text with several is a "
                    f"group, got {len(several)}"
                )
            several = [value]
        value = several
    handles = check_recipients(value, field)
    for handle in handles:
        if _TOO_SHORT.fullmatch(handle):
            raise InvalidRequestError(f"{field}: must be a whole number with its country code, got {handle!r}")
    if len(handles) == 1:  # nearly all, and a list of people may have a million
        return (normal_handle(handles[0]),)
    people = {comparable_handle(handle): normal_handle(handle) for handle in reversed(handles)}
    return tuple(sorted(people.values()))


def _zone(name: Any, field: str) -> str:
    if not isinstance(name, str) or not _is_zone(name):
        raise InvalidRequestError(f"{field}: must be the IANA name of a time zone, got {str(name)[:40]!r}")
    return sys.intern(name)


@lru_cache(maxsize=1_000)
def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not there; no name of a file; a folder of zones
        return False
    return True


def format_rejections(excluded: Sequence[Outcome], total: int) -> str:
    """
    Return one text on all rows that are not sent to, by what is wrong with them, for a log or an error.

    :param excluded: the rows that are invalid or duplicates.
    :param total: how many rows there are.
    """
    problems: dict[str, list[str]] = {}
    for outcome in excluded:
        rule, _, value = (outcome.detail or "").partition(", got ")
        problems.setdefault(f"{outcome.reason}: {rule}", []).append(
            f"{outcome.row} ({value})" if value else str(outcome.row)
        )
    lines = [f"{len(excluded):,} of {total:,} rows can't be sent to:"]
    for problem, found in list(problems.items())[:PROBLEMS]:
        more = f" and {len(found) - EXAMPLES:,} more" if len(found) > EXAMPLES else ""
        lines.append(f"- {problem}: row {', '.join(found[:EXAMPLES])}{more}")
    if len(problems) > PROBLEMS:
        lines.append(f"- and {len(problems) - PROBLEMS:,} other problems")
    if len(problems) > PROBLEMS or any(len(found) > EXAMPLES for found in problems.values()):
        lines.append("With outcomes_path, that file names every row.")
    return "\n".join(lines)
