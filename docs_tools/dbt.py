"""The staging models of `dbt_linq`, from the catalog of the tap: their columns can't differ from what the tap emits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from airflow_provider_linq.campaigns._model import Outcome
from docs_tools.streams import CONFIG
from tap_linq.tap import TapLinq

STAGING: Final = Path(__file__).parents[1] / "dbt_linq" / "models" / "staging"

HEADER: Final = "made by `make docs` from the catalog of tap-linq"

#: Names that SQL has taken, and what the models call them.
RENAMED: Final[Mapping[str, str]] = {"from": "sender", "to": "recipients", "row": "input_row"}

_KINDS: Final[Mapping[str, str]] = {"array": "json", "object": "json"}

_SERVICES: Final = ("iMessage", "RCS", "SMS")
_HEALTH: Final = ("HEALTHY", "AT_RISK", "CRITICAL", "OPTED_OUT")
_REACTIONS: Final = ("love", "like", "dislike", "laugh", "emphasize", "question", "custom", "sticker")

#: What columns hold today; the platform may add to it, so these tests warn.
VALUES: Final[Mapping[tuple[str, str], Sequence[str]]] = {
    ("phone_numbers", "line_type"): ("iMessage", "RCS"),
    ("chats", "service"): _SERVICES,
    ("chat_participants", "status"): ("active", "left", "removed"),
    ("messages", "direction"): ("inbound", "outbound"),
    ("messages", "delivery_status"): ("pending", "queued", "sent", "delivered", "received", "read", "failed"),
    ("messages", "service"): _SERVICES,
    ("messages", "source"): ("api", "webhook"),
    ("reactions", "type"): _REACTIONS,
    ("extraction_gaps", "reason"): ("first_run", "late_run", "updated_at_lags", "clock_error"),
    ("extraction_gaps", "archive_coverage"): ("full", "partial", "none"),
    ("message_events", "change"): ("sent", "received", "delivered", "read", "failed", "edited"),
    ("opt_outs", "evidence"): ("keyword", "health_status", "refusal", "message"),
    ("campaign_outcomes", "status"): ("sent", "skipped", "failed", "unknown", "pending"),
}

#: Columns that name a row of another stream. A row may come without it, such as a message by webhook: these warn, too.
REFERENCES: Final[Mapping[tuple[str, str], tuple[str, str]]] = {
    ("chats", "line"): ("phone_numbers", "phone_number"),
    ("chat_participants", "chat_id"): ("chats", "id"),
    ("messages", "chat_id"): ("chats", "id"),
    ("reactions", "message_id"): ("messages", "id"),
    ("attachments", "message_id"): ("messages", "id"),
    ("message_events", "message_id"): ("messages", "id"),
}

_OUTCOMES: Final[Mapping[str, tuple[str, str]]] = {
    "row": ("integer", "Number of the row in the input, from 1."),
    "to": ("list", "Handles, separated by commas."),
    "status": ("string", "sent, skipped, failed, unknown or pending."),
    "reason": ("string", "Why it was not sent, in one word."),
    "detail": ("string", "The same for people."),
    "code": ("integer", "Code of the API's error."),
    "idempotency_key": ("string", "Key that the message was sent with."),
    "line": ("string", "Own line that the message went from, as far as known."),
    "chat_id": ("string", "Id of the chat."),
    "message_id": ("string", "Id of the message."),
    "created_at": ("timestamp", "When the platform created the message."),
    "replaces": ("string", "Id of the failed message whose place this one takes."),
}


@dataclass(frozen=True)
class Column:
    """A column of a staging model.

    Attributes:
        name: as the loader writes it.
        kind: string, timestamp, boolean, integer, number, json or list.
    """

    name: str
    kind: str
    description: str
    is_key: bool = False

    @property
    def alias(self) -> str:
        """Its name in the models."""
        return RENAMED.get(self.name, self.name)


@dataclass(frozen=True)
class Table:
    """A table that a staging model reads."""

    name: str
    description: str
    columns: tuple[Column, ...]

    @property
    def key(self) -> list[str]:
        """What identifies a row, within an account."""
        return [column.alias for column in self.columns if column.is_key]


def tables() -> list[Table]:
    """Return the streams of the tap, and the outcomes of campaigns."""
    streams = TapLinq(config=CONFIG).discover_streams()
    found = [
        Table(
            stream.name,
            stream.schema["description"],
            tuple(
                Column(name, _kind(one), one["description"], name in stream.primary_keys)
                for name, one in stream.schema["properties"].items()
            ),
        )
        for stream in streams
    ]
    assert [field.name for field in fields(Outcome)] == list(_OUTCOMES)
    outcomes = (Column(name, kind, description) for name, (kind, description) in _OUTCOMES.items())
    campaign = Column("campaign", "string", "Name of the campaign, where your table has one: the files do not.")
    return [
        *found,
        Table(
            "campaign_outcomes", "Outcomes files of campaigns, loaded by you: all their rows.", (campaign, *outcomes)
        ),
    ]


def _kind(schema: Mapping[str, Any]) -> str:
    if schema.get("format") == "date-time":
        return "timestamp"
    (kind,) = (one for one in schema["type"] if one != "null")
    return _KINDS.get(kind, kind)


def files() -> dict[Path, str]:
    """Return each generated file of the package, as it should be."""
    found = tables()
    models = {STAGING / f"stg_linq__{table.name}.sql": _model(table) for table in found}
    return {**models, STAGING / "_staging.yml": _properties(found), STAGING / "_sources.yml": _sources(found)}


def _model(table: Table) -> str:
    columns = "".join(f"        ['{one.name}', '{one.kind}', '{one.alias}'],\n" for one in table.columns)
    key = ", ".join(f"'{name}'" for name in table.key)
    return (
        f"{{# {HEADER} #}}\n{{{{ linq.newest_rows(\n    source('linq', '{table.name}'),\n    key=[{key}],\n"
        f"    columns=[\n{columns}    ],\n) }}}}\n"
    )


def _sources(found: Sequence[Table]) -> str:
    lines = [
        f"# {HEADER}",
        "version: 2",
        "",
        "sources:",
        "  - name: linq",
        "    description: What a loader has made of the streams of tap-linq.",
        "    database: \"{{ var('linq_database', none) or target.database }}\"",
        "    schema: \"{{ var('linq_schema', 'linq') }}\"",
        "    tables:",
    ]
    for table in found:
        lines += [f"      - name: {table.name}", f"        description: {_quoted(table.description)}"]
    return "\n".join(lines) + "\n"


def _properties(found: Sequence[Table]) -> str:
    lines = [f"# {HEADER}", "version: 2", "", "models:"]
    for table in found:
        lines += [f"  - name: stg_linq__{table.name}", f"    description: {_quoted(table.description)}"]
        if table.key:
            lines += [
                "    data_tests:",
                "      - linq.is_key:",
                f"          arguments: {{columns: [source_relation, {', '.join(table.key)}]}}",
            ]
        lines += [
            "    columns:",
            "      - name: source_relation",
            '        description: "Account of the row: the `name` of an entry of `linq_sources`, or the schema."',
        ]
        for column in table.columns:
            lines += [f"      - name: {column.alias}", f"        description: {_quoted(column.description)}"]
            tests = list(_tests(table, column))
            lines += ["        data_tests:", *tests] if tests else []
    return "\n".join(lines) + "\n"


def _tests(table: Table, column: Column) -> Iterator[str]:
    if values := VALUES.get((table.name, column.name)):
        yield "          - accepted_values:"
        yield f"              arguments: {{values: [{', '.join(values)}]}}"
        yield "              config: {severity: warn}"
    if reference := REFERENCES.get((table.name, column.name)):
        stream, field = reference
        yield "          - relationships:"
        yield f"              arguments: {{to: ref('stg_linq__{stream}'), field: {field}}}"
        yield "              config: {severity: warn}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
