"""The message of a row: templates that are compiled once, and rendered for each row."""

from __future__ import annotations

from datetime import date
from typing import Any

import jinja2
import pytest
from airflow.sdk import DAG
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_linq.campaigns._rows import Row
from airflow_provider_linq.campaigns._sandbox import MessageEnvironment
from airflow_provider_linq.campaigns._templates import columns_named, compiled, names_in_messages
from linq_client import InvalidRequestError, Message, MessageLike


def render(message: MessageLike, row: Row, dag: DAG | None = None, /, **context: Any) -> MessageLike:
    return compiled(message, MessageEnvironment(dag), context, names_in_messages(context))(row)


def test_a_template_sees_the_row_and_what_airflow_offers() -> None:
    row = {"name": "Ann", "visits": 3, "home town": "Ulm"}
    text = "{{ row.name }} of {{ row['home town'] }}: {{ row.visits + 1 }} until {{ ds }}, {{ params.shop }}"
    assert render(text, row, ds="2026-03-01", params={"shop": "A1"}) == "Ann of Ulm: 4 until 2026-03-01, A1"


def test_the_row_is_the_row_whatever_else_has_that_name() -> None:
    assert render("{{ row.name }}", {"name": "Ann"}, row={"name": "of the context"}) == "Ann"


@pytest.mark.parametrize("name", sorted(name for name in dir(dict) if not name.startswith("_")))
def test_a_column_may_be_called_like_a_method_of_dict(name: str) -> None:
    assert render(f"{{{{ row.{name} }}}}", {name: "value"}) == "value"
    with pytest.raises(InvalidRequestError, match=rf"^message: row\.{name} is missing or empty$"):
        render(f"{{{{ row.{name} }}}}", {"other": "value"})


@pytest.mark.parametrize("row", [{}, {"name": None}, {"name": ""}, {"name": float("nan")}])
def test_a_value_that_is_missing_is_an_error_unless_there_is_a_default(row: Row) -> None:
    with pytest.raises(InvalidRequestError, match=r"^message: row\.name is missing or empty$"):
        render("Hi {{ row.name }}", row)
    with pytest.raises(InvalidRequestError, match=r"row\.name is missing or empty"):
        render("Hi {{ row.name.upper() }}", row)
    with pytest.raises(InvalidRequestError, match=r"row\.name is missing or empty"):
        render("{% if row.name == 'Ann' %}Hi{% endif %}", row)
    assert render("Hi {{ row.name | default('there') }}", row) == "Hi there"
    assert render("{% if row.name is defined %}Hi{% else %}Ho{% endif %}", row) == "Ho"


@pytest.mark.parametrize("value", [0, False, " "])
def test_a_value_that_says_little_is_a_value(value: object) -> None:
    assert render("{{ row.x }}", {"x": value}) == str(value)


@pytest.mark.parametrize(
    ("template", "rule"),
    [
        ("{{ row.address.city }}", "message: an expression is None"),
        ("{{ row.address.street }}", "message: 'dict object' has no attribute 'street'"),
        ("{{ nobody }}", "message: 'nobody' is undefined"),
        ("{{ row.visits / 0 }}", "message: the template fails on this row with ZeroDivisionError"),
        ("{{ row.visits | int(secret=1) }}", "message: the template fails on this row with TypeError"),
        ("{% for x in row %}{{ x }}{% endfor %}", "message: the template fails on this row with TypeError"),
        (
            "{{ row.__class__.__mro__ }}",
            "message: the template fails on this row with SecurityError: access to attribute '__class__' of "
            "'_RowInTemplate' object is unsafe.",
        ),
    ],
)
def test_what_can_not_be_rendered_is_a_fault_of_the_row(template: str, rule: str) -> None:
    with pytest.raises(InvalidRequestError) as raised:
        render(template, {"address": {"city": None}, "visits": 3})
    assert str(raised.value) == rule


@given(name=st.text(min_size=1))
def test_the_values_of_a_row_are_no_templates(name: str) -> None:
    for value in (name, f"{{{{ {name} }}}}", f"{{% {name} %}}", f"{{{{ 7 * 6 }}}}{name}"):
        assert render("{{ row.name }}", {"name": value}) == value


def test_each_string_of_a_message_is_a_template() -> None:
    text = {"type": "text", "value": "Hi {{ row.name }}", "text_decorations": [{"range": [0, 2], "style": "bold"}]}
    media = {"path": "s3://shop/{{ row.card }}.png"}
    row = {"name": "Ann", "card": "c1"}
    made_text, made_media = {**text, "value": "Hi Ann"}, {"path": "s3://shop/c1.png"}
    assert render([text, media, "Bye {{ row.name }}"], row) == [made_text, made_media, "Bye Ann"]
    whole = {"parts": [text, media], "effect": {"type": "screen", "name": "{{ row.effect }}"}}
    effect = {"type": "screen", "name": "lasers"}
    assert render(whole, {**row, "effect": "lasers"}) == {"parts": [made_text, made_media], "effect": effect}


def test_a_message_that_is_built_already_is_a_template_too() -> None:
    message = Message(parts=("Hi {{ row.name }}",))
    assert render(message, {"name": "Ann"}) == {"parts": [{"type": "text", "value": "Hi Ann"}]}
    assert render([message.parts[0]], {"name": "Ann"}) == [{"type": "text", "value": "Hi Ann"}]


def test_one_row_leaves_no_traces_in_the_next() -> None:
    make = compiled({"parts": [{"value": "{{ row.name }}"}]}, MessageEnvironment(None), {}, {})
    first, second = make({"name": "Ann"}), make({"name": "Bob"})
    assert (first, second) == ({"parts": [{"value": "Ann"}]}, {"parts": [{"value": "Bob"}]})


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ("Hi\n{{ row. }}", "message"),
        (["Hi", {"type": "media", "url": "Hi\n{{ row. }}"}], r"message\.parts\[1\]\.url"),
        ({"parts": [{"type": "text", "value": "Hi\n{{ row. }}"}]}, r"message\.parts\[0\]\.value"),
    ],
)
def test_what_is_no_template_is_refused_before_there_is_a_row(message: MessageLike, field: str) -> None:
    with pytest.raises(InvalidRequestError, match=rf"^{field}: line 2 of the template: expected name or number$"):
        compiled(message, MessageEnvironment(None), {}, {})


def test_the_environment_is_that_of_the_dag_but_strict_and_sandboxed() -> None:
    class Lenient(jinja2.StrictUndefined):
        __str__ = jinja2.Undefined.__str__  # type: ignore[assignment]

    dag = DAG(
        "shop",
        user_defined_macros={"shout": str.upper},
        user_defined_filters={"whisper": str.lower},
        render_template_as_native_obj=True,
        template_undefined=Lenient,
    )
    assert render("{{ shout(row.name) }} {{ row.name | whisper }} {{ 1 }}", {"name": "Ann"}, dag) == "ANN ann 1"
    assert render("{{ 1 }}", {}, dag) == "1"
    with pytest.raises(InvalidRequestError, match="'nobody' is undefined"):
        render("{{ nobody }}", {}, dag)
    with pytest.raises(InvalidRequestError, match="SecurityError"):
        render("{{ shout.__self__.__class__ }}", {}, dag)


def test_airflows_filters_are_there_without_a_dag() -> None:
    assert render("{{ row.since | ds }}", {"since": date(2026, 3, 1)}) == "2026-03-01"


@pytest.mark.parametrize(
    ("message", "columns"),
    [
        ("Hello", set()),
        ("Hello {{ row.name }} of {{ row['home town'] }}", {"name", "home town"}),
        ("{{ row.name | default('you') }}{% if row.visits is defined %}, again{% endif %}", {"name", "visits"}),
        ("{{ row.address.city }}, {{ row.address['zip'] }}", {"address"}),
        ("{% for x in row.visits %}{{ x.day }}{% endfor %}", {"visits"}),
        ("{{ [row.a, {'k': row.b}] | first }}", {"a", "b"}),
        ("{{ ds }} {{ params.row }} {{ params['row'].name }}", set()),
        ("{{ row[params.column] }}{{ row[0] }}", set()),  # which column that is can't be told without a row
        ("{# {{ row.name }} #}{% raw %}{{ row.name }}{% endraw %}", set()),
        (["Hi {{ row.a }}", {"type": "media", "path": "s3://shop/{{ row.b }}.png"}], {"a", "b"}),
        ({"parts": [{"value": "{{ row.a }}"}], "effect": {"name": "{{ row.b }}"}, "n": 7}, {"a", "b"}),
        (Message(parts=("Hi {{ row.a }}",)), {"a"}),
        (b"{{ row.a }}", set()),
    ],
)
def test_the_columns_that_a_message_names(message: Any, columns: set[str]) -> None:
    assert columns_named(message, MessageEnvironment(None)) == columns


@given(name=st.text(min_size=1))
def test_a_column_of_any_name_is_found(name: str) -> None:
    quoted = name.replace("\\", "\\\\").replace("'", "\\'")
    text = f"{{{{ row['{quoted}'] }}}}"
    assert columns_named(text, MessageEnvironment(None)) == {name.replace("\r\n", "\n").replace("\r", "\n")}
