"""From rows to recipients: the message is rendered and all rules are checked, before anything is sent."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo

import jinja2
from airflow.sdk import DAG
from jinja2 import nodes
from pydantic import BaseModel

from airflow_provider_linq.campaigns.model import Outcome, Recipient, recipient_key
from airflow_provider_linq.campaigns.rows import Row
from airflow_provider_linq.uploads import check_message
from linq_client import InvalidRequestError, MessageLike, check_recipients

Render: TypeAlias = Callable[[Row], MessageLike]

#: How many examples of each problem a report has, and how many problems.
EXAMPLES: Final = 10
PROBLEMS: Final = 20

_SEPARATORS: Final = re.compile(r"[,;\s]+")


def environment(dag: DAG | None) -> jinja2.Environment:
    """
    Return the environment that templates over rows are compiled in: that of the DAG, in a sandbox.

    What is not there, and what is None, is an error in it, even if the DAG asks for leniency: a message with a gap
    can't be taken back.

    :param dag: whose macros, filters and template folders to use; without one there are those of Airflow alone.
    """
    env = (dag or DAG("campaign")).get_template_env(force_sandboxed=True)
    env.undefined = jinja2.StrictUndefined
    env.finalize = _said
    return env


def compiled(message: MessageLike, env: jinja2.Environment, context: Mapping[str, Any]) -> Render:
    """
    Compile each string of a message once, and return what makes the message of a row.

    Templates see the row as ``row`` (``{{ row.first_name }}``), and all that Airflow's templates see. A value that is
    None, NaN or empty counts as missing: ``{{ row.name | default("there") }}``.

    :param message: text, a list of parts, or the JSON form of a message.
    :param context: of the task.
    :raises InvalidRequestError: a string is no template; from the function that is returned, also if the row lacks
        what the template needs.
    """
    make = _compiled(message, "message", env)
    if not callable(make):
        return lambda row: make
    known = dict(context)
    return lambda row: make({**known, "row": _RowInTemplate(row)})


class _RowInTemplate:
    """A row in a template: it has no attributes, so that `row.items` is the column of that name."""

    __slots__ = ("__row",)
    __iter__ = None  # else Python would ask for 0, 1, 2 … without end

    def __init__(self, row: Row) -> None:
        self.__row = row

    def __getitem__(self, name: str) -> Any:
        value = self.__row.get(name)
        if _is_missing(value):
            return jinja2.StrictUndefined(f"row.{name} is missing or empty", name=name)
        return value


def _is_missing(value: Any) -> bool:
    # What is not equal to itself is a NaN, which data frames have in the place of what is missing.
    return value is None or value == "" or value != value


def _said(value: Any) -> Any:
    """Refuse to write None into a message, as for a gap deep in a value of the row."""
    if value is None:
        raise jinja2.UndefinedError("an expression is None")
    return value


def _compiled(value: Any, field: str, env: jinja2.Environment) -> Any:
    """Return a function that renders a value with these names, or the value itself, if there is nothing to render."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, str):
        return _compiled_text(value, field, env)
    if isinstance(value, Mapping):
        made = {name: _compiled(item, f"{field}.{name}", env) for name, item in value.items()}
        changing = {name: make for name, make in made.items() if callable(make)}
        return (lambda names: {**made, **{n: make(names) for n, make in changing.items()}}) if changing else made
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        parts = f"{field}.parts" if field == "message" else field
        items = [_compiled(item, f"{parts}[{index}]", env) for index, item in enumerate(value)]
        if any(map(callable, items)):
            return lambda names: [item(names) if callable(item) else item for item in items]
        return items
    return value


def _compiled_text(text: str, field: str, env: jinja2.Environment) -> str | Callable[[Mapping[str, Any]], str]:
    try:
        tree = env.parse(text)
        template = env.from_string(text)
    except jinja2.TemplateSyntaxError as error:
        raise InvalidRequestError(f"{field}: line {error.lineno} of the template: {error.message}") from None
    if all(isinstance(node, nodes.Output | nodes.TemplateData) for node in tree.find_all(nodes.Node)):
        return template.render()

    def render(names: Mapping[str, Any]) -> str:
        try:
            return template.render(names)
        except jinja2.UndefinedError as error:
            raise InvalidRequestError(f"{field}: {error.message}"[:300]) from None
        except Exception as error:  # of any filter or macro; its words may quote the row
            raise InvalidRequestError(f"{field}: the template fails on this row with {type(error).__name__}") from None

    return render


@dataclass(frozen=True)
class Checked:
    """
    All rows of a campaign.

    :param recipients: whom to write to, in the order of the rows.
    :param left_out: the rows that are invalid or duplicates, likewise.
    """

    recipients: list[Recipient]
    left_out: list[Outcome]


def check_rows(
    rows: Iterable[Row],
    render: Render,
    *,
    campaign_key: str,
    to_field: str,
    timezone: str,
    timezone_field: str | None,
    first_in_chat: bool,
) -> Checked:
    """
    Check every row, and tell those that can be sent from the others. The messages are rendered, but not kept.

    :param campaign_key: the keys of the recipients are made of it.
    :param to_field: column with a handle, or with several, for a group: a list, or text with commas, semicolons or
        spaces between them.
    :param timezone: IANA name, for rows that have none.
    :param timezone_field: column with the time zone of the recipient.
    :param first_in_chat: the message may be the first of its chat, so the rules for those apply.
    :raises InvalidRequestError: ``timezone`` is none.
    """
    default = _zone(timezone, "timezone")
    recipients: list[Recipient] = []
    left_out: list[Outcome] = []
    numbers: dict[tuple[str, ...], int] = {}
    for number, row in enumerate(rows, start=1):
        to: tuple[str, ...] = ()
        try:
            to = _handles(row.get(to_field), to_field)
            if to in numbers:
                detail = f"{to_field}: must not be that of an earlier row, got that of row {numbers[to]}"
                left_out.append(Outcome(number, to, "skipped", "duplicate", detail))
                continue
            zone = row.get(timezone_field) if timezone_field is not None else None
            name = default if _is_missing(zone) else _zone(zone, str(timezone_field))
            message = check_message(render(row))
            if first_in_chat:
                message.check_first_in_chat()
        except InvalidRequestError as error:
            left_out.append(Outcome(number, to, "skipped", "invalid", str(error)))
            continue
        numbers[to] = number
        recipients.append(Recipient(number, to, recipient_key(campaign_key, to), row, name))
    return Checked(recipients, left_out)


def _handles(value: Any, field: str) -> tuple[str, ...]:
    if _is_missing(value):
        raise InvalidRequestError(f"{field}: must be a handle or several, got none")
    if isinstance(value, str):
        value = [handle for handle in _SEPARATORS.split(value) if handle]
    handles = check_recipients(value, field)
    # Mail addresses mean the same in any case, and numbers have none.
    return tuple(sorted({handle.lower() for handle in handles}))


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


def report(left_out: Sequence[Outcome], total: int) -> str:
    """
    Return one text on all rows that are left out, by what is wrong with them, for a log or an error.

    :param left_out: the rows that are invalid or duplicates.
    :param total: how many rows there are.
    """
    problems: dict[str, list[str]] = {}
    for outcome in left_out:
        rule, _, value = (outcome.detail or "").partition(", got ")
        problems.setdefault(f"{outcome.reason}: {rule}", []).append(
            f"{outcome.row} ({value})" if value else str(outcome.row)
        )
    lines = [f"{len(left_out):,} of {total:,} rows can't be sent to:"]
    for problem, found in list(problems.items())[:PROBLEMS]:
        more = f" and {len(found) - EXAMPLES:,} more" if len(found) > EXAMPLES else ""
        lines.append(f"- {problem}: row {', '.join(found[:EXAMPLES])}{more}")
    if len(problems) > PROBLEMS:
        lines.append(f"- and {len(problems) - PROBLEMS:,} other problems")
    if len(problems) > PROBLEMS or any(len(found) > EXAMPLES for found in problems.values()):
        lines.append("With outcomes_path, that file names every row.")
    return "\n".join(lines)
