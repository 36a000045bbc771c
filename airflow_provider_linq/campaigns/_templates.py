"""The message of a row: its strings are templates, compiled once and rendered for each row."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeAlias

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.meta import find_undeclared_variables
from pydantic import BaseModel

from airflow_provider_linq.campaigns._rows import Row, is_missing
from airflow_provider_linq.campaigns._sandbox import MessageEnvironment, plain, rendered
from linq_client import InvalidRequestError, MessageLike

Render: TypeAlias = Callable[[Row], MessageLike]


#: What a message sees of Airflow's context, beside `params`: when the run is, and which.
_NAMES: Final = (
    *("ds", "ds_nodash", "ts", "ts_nodash", "ts_nodash_with_tz", "run_id"),
    *("logical_date", "data_interval_start", "data_interval_end"),
)


def names_in_messages(context: Mapping[str, Any], values: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """
    Return what the message of a campaign sees beside the row: plain data, and nothing that leads anywhere else.

    :param context: of the task.
    :param values: what the author of the DAG gives to the message.
    """
    found = {name: context[name] for name in _NAMES if name in context}
    return {**found, "params": plain(context.get("params") or {}), "values": plain(values or {})}


def compiled(
    message: MessageLike, env: MessageEnvironment, context: Mapping[str, Any], known: Mapping[str, Any]
) -> Render:
    """
    Compile each string of a message once, and return what makes the message of a row.

    Templates see the row as ``row`` (``{{ row.first_name }}``), and the names that are known. A value that is None, NaN
    or empty counts as missing: ``{{ row.name | default("there") }}``.

    :param message: text, a list of parts, or the JSON form of a message.
    :param context: of the task, whose other names a message does not see.
    :param known: of `names_in_messages`.
    :raises InvalidRequestError: a string is no template, or asks for what it can't see; from the function that is
        returned, also if the row lacks what the template needs.
    """
    hidden = set(context) - set(known) - {"row"} - set(env.globals)
    make = _compiled(message, "message", env, hidden)
    if not callable(make):
        return lambda row: make
    return lambda row: make({**known, "row": _RowInTemplate(row)})


class _RowInTemplate:
    """A row in a template: it has no attributes, so that `row.items` is the column of that name."""

    __slots__ = ("__row",)
    __iter__ = None  # else Python would ask for 0, 1, 2 … without end

    def __init__(self, row: Row) -> None:
        self.__row = row

    def __getitem__(self, name: str) -> Any:
        value = self.__row.get(name)
        if is_missing(value):
            return jinja2.StrictUndefined(f"row.{name} is missing or empty", name=name)
        return value


def _compiled(value: Any, field: str, env: MessageEnvironment, hidden: Collection[str]) -> Any:
    """Return a function that renders a value with these names, or the value itself, if there is nothing to render."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, str):
        return _compiled_text(value, field, env, hidden)
    if isinstance(value, Mapping):
        made = {name: _compiled(item, f"{field}.{name}", env, hidden) for name, item in value.items()}
        changing = {name: make for name, make in made.items() if callable(make)}
        return (lambda names: {**made, **{n: make(names) for n, make in changing.items()}}) if changing else made
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        parts = f"{field}.parts" if field == "message" else field
        items = [_compiled(item, f"{parts}[{index}]", env, hidden) for index, item in enumerate(value)]
        if any(map(callable, items)):
            return lambda names: [item(names) if callable(item) else item for item in items]
        return items
    return value


def columns_named(message: object, env: MessageEnvironment) -> set[str]:
    """Return the columns that a message names as ``row.column`` or ``row["column"]``."""
    if isinstance(message, BaseModel):
        message = message.model_dump(mode="json", exclude_none=True)
    if isinstance(message, str):
        found = env.parse(message).find_all((nodes.Getattr, nodes.Getitem))
        return {name for node in found if (name := _column_of(node)) is not None}
    if isinstance(message, Mapping):
        message = list(message.values())
    if isinstance(message, Sequence) and not isinstance(message, bytes | bytearray):
        return set().union(*(columns_named(item, env) for item in message))
    return set()


def _column_of(node: nodes.Node) -> str | None:
    if not isinstance(node, nodes.Getattr | nodes.Getitem):
        return None
    if not isinstance(node.node, nodes.Name) or node.node.name != "row":
        return None
    if isinstance(node, nodes.Getattr):
        return node.attr
    return node.arg.value if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str) else None


def _compiled_text(
    text: str, field: str, env: MessageEnvironment, hidden: Collection[str]
) -> str | Callable[[Mapping[str, Any]], str]:
    try:
        tree = env.parse(text)
        unseen = sorted(find_undeclared_variables(tree) & set(hidden))
        is_fixed = all(isinstance(node, nodes.Output | nodes.TemplateData) for node in tree.find_all(nodes.Node))
        template = env.template_of(tree)
    except jinja2.TemplateSyntaxError as error:  # TemplateAssertionError, for a filter that is not there, too
        raise InvalidRequestError(f"{field}: line {error.lineno} of the template: {error.message}") from None
    if unseen:
        raise InvalidRequestError(
            f"{field}: must be made of row, params, values and the dates of the run, got {unseen[0]!r}: give "
            "anything else in values, which is templated, as values={'shop': '{{ var.value.shop }}'}"
        )
    if is_fixed:
        return template.render()

    def render(names: Mapping[str, Any]) -> str:
        try:
            return rendered(template, names)
        except jinja2.UndefinedError as error:
            raise InvalidRequestError(f"{field}: {error.message}"[:300]) from None
        except SecurityError as error:  # its words are Jinja's, or ours, and quote no value
            raise InvalidRequestError(
                f"{field}: the template fails on this row with SecurityError: {error.message}"[:300]
            ) from None
        except Exception as error:  # of any filter or macro; its words may quote the row
            raise InvalidRequestError(f"{field}: the template fails on this row with {type(error).__name__}") from None

    return render
