"""The message of a row: its strings are templates, compiled once and rendered for each row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import jinja2
from airflow.sdk import DAG
from jinja2 import nodes
from pydantic import BaseModel

from airflow_provider_linq.campaigns._rows import Row, is_missing
from linq_client import InvalidRequestError, MessageLike

Render: TypeAlias = Callable[[Row], MessageLike]


def environment(dag: DAG | None) -> jinja2.Environment:
    """
    Return the environment that templates over rows are compiled in: that of the DAG, in a sandbox.

    What is not there, and what is None, is an error in it, even if the DAG asks for leniency: a message with a gap
    can't be taken back.

    :param dag: whose macros, filters and template folders to use; without one there are those of Airflow alone.
    """
    env = (dag or DAG("campaign")).get_template_env(force_sandboxed=True)
    env.undefined = jinja2.StrictUndefined
    env.finalize = _refuse_none
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
        if is_missing(value):
            return jinja2.StrictUndefined(f"row.{name} is missing or empty", name=name)
        return value


def _refuse_none(value: Any) -> Any:
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


def columns_named(message: object, env: jinja2.Environment) -> set[str]:
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
