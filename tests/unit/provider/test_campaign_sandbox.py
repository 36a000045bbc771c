"""What the template of a campaign's message can't do: reach what is not data, or use up time and memory."""

from __future__ import annotations

import os
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pendulum
import pytest
from airflow.sdk import DAG

from airflow_provider_linq.campaigns._sandbox import MessageEnvironment
from airflow_provider_linq.campaigns._templates import compiled, names_in_messages
from linq_client import InvalidRequestError

ROW = {
    "name": "Ann",
    "items": ["a", "b"],
    "gaps": ["a", None],
    "people": [{"name": "Bob"}, {"name": "Cy"}],
    "address": {"city": None},
    "price": Decimal("12.5"),
    "day": datetime(2026, 3, 1, 12, tzinfo=timezone.utc),
    "module": os,
    "class": dict,
    "function": os.system,
    "huge": Decimal("1E+999999"),
    "long": "x" * 9_000,
    "bytes": b"Ann",
    "view": memoryview(b"Ann"),
    "object": object(),
}


def render(text: str, dag: DAG | None = None, **names: Any) -> Any:
    known = names_in_messages(names, names.get("values"))
    return compiled(text, MessageEnvironment(dag), names, known)(ROW)


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("{{ row.name.upper() }} {{ row.name | lower }} {{ ', '.join(row['items']) }}", "ANN ann a, b"),
        (
            "{{ '%.2f' % row.price }} {{ '%.2f' | format(row.price) }} {{ '{:,.2f}'.format(row.price) }}",
            "12.50 12.50 12.50",
        ),
        ("{% for x in row['items'] %}{{ loop.index }}{{ x }}{{ loop.cycle('-', '') }}{% endfor %}", "1a-2b"),
        ("{% set ns = namespace(n=0) %}{% for i in range(3) %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}", "3"),
        ("{% macro hi(who) %}Hi {{ who }}{% endmacro %}{{ hi(row.name) ~ '!' }}", "Hi Ann!"),
        ("{{ row.day.strftime('%d.%m.%Y') }} {{ row.day | ds }}", "01.03.2026 2026-03-01"),
        ("{{ logical_date.add(days=1).in_timezone('Europe/Berlin').strftime('%d %H') }}", "02 13"),
        ("{{ row['items'] | map('upper') | join('/') }} {{ 2 ** 10 }} {{ 'ab' * 2 }}", "A/B 1024 abab"),
        ("{{ params.shop.name }} {{ values.dish | title }}", "A1 Soup"),
        ("{{ row.people | join(', ', attribute='name') }} {{ row.people | join('/', 'name') }}", "Bob, Cy Bob/Cy"),
        ("{{ 'Hi %(name)s' % row }} {{ '%(dish)s' % values }} {{ '%s' % row.name }}", "Hi Ann soup Ann"),
        ("{{ '{name}'.format_map(row) }} {{ '{0[name]} {r[people][1][name]}'.format(row, r=row) }}", "Ann Ann Cy"),
    ],
)
def test_what_messages_are_made_of(text: str, made: str) -> None:
    names = {
        "params": {"shop": {"name": "A1"}},
        "values": {"dish": "soup"},
        "logical_date": pendulum.datetime(2026, 3, 1, 12),
    }
    assert render(text, **names) == made


@pytest.mark.parametrize(
    "text",
    [
        "{{ row.module.system('true') }}",
        "{{ row.module.environ }}",
        "{{ row['class'].mro() }}",
        "{{ row['class'](a=1) }}",
        "{{ row.function('true') }}",
        "{{ row.name.__class__ }}",
        "{{ row.name['__class__'] }}",
        "{{ row.name | attr('__class__') }}",
        "{{ row['items'].append('c') }}",
        "{{ '{0.__class__}'.format(row.name) }}",
        "{{ ['x'] | map(attribute='__class__') | join }}",
        "{{ row.day.fromtimestamp(0) }}",
        "{{ range.__self__ }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ loop }}{{ self.__dict__ }}",
        "{{ cycler.__init__ }}",
        "{{ lipsum(n=100000) }}",
        "{{ values.macros.json }}",
    ],
)
def test_what_is_no_data_is_out_of_reach(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="^message"):
        render(text, params={}, values={"macros": os})


@pytest.mark.parametrize(
    "text",
    [
        "{{ row.name.upper }}",
        "{{ row.name.upper ~ '!' }}",
        "{{ row.name.upper | lower }}",
        "{{ row.day.isoformat | string }}",
        "{{ '%s' | format(row.name.upper) }}",
        "{{ '%s' % row.name.upper }}",
        "{{ '{}'.format(row.name.upper) }}",
        "{{ [row.name.upper] | join }}",
        "{{ '%s' % row }}",
        "{{ '%(people)s' % row }}",
        "{{ '{people!r}'.format_map(row) }}",
        "{{ '{0[items]}'.format(row) }}",
        "{{ row.people | join(', ') }}",
        "{{ row.gaps | join(', ') }}",
        "{{ row.address.city | title }}",
        "{{ '%s' % row.address.city }}",
        "{{ '%(city)s' % row.address }}",
        "{{ '{}'.format(row.address.city) }}",
        "{{ row }}",
        "{{ row['items'] }}",
        "{{ row['items'] | map('upper') }}",
        "{{ row['items'] | reverse }}",
        "{{ row['items'] | batch(2) }}",
        "{{ row.bytes }}",
        "{{ row.bytes | upper }}",
        "{{ row.view }}",
        "{{ row.object }}",
        "{{ row.function }}",
        "{{ range }}",
        "{{ range(3) }}",
        "{{ values }}",
        "{% for x in range(3) %}{{ loop }}{% endfor %}",
        "{% macro hi() %}Hi{% endmacro %}{{ hi }}",
        "{{ values.nobody ~ '!' }}",
    ],
)
def test_nobody_gets_what_only_programmers_can_read(text: str) -> None:
    rule = r"^message: an expression is (None|no text but a \w+: a method needs its \(\), and a list \| join\(', '\))$"
    with pytest.raises(InvalidRequestError, match=rule):
        render(text, params={}, values={"nobody": None})


@pytest.mark.parametrize("value", [UUID(int=5), 3, 2.5, Decimal("10.00"), True, date(2026, 3, 1), timedelta(days=1)])
def test_what_has_words_of_its_own_is_written(value: Any) -> None:
    make = compiled("{{ row.x }} {{ row.x ~ '' }}", MessageEnvironment(None), {}, {})
    assert make({"x": value}) == f"{value} {value}"


@pytest.mark.parametrize(
    "text",
    [
        "{{ 'x' * 1000000000 }}",
        "{{ [0] * 1000000000 }}",
        "{{ 10 ** 1000000000 }}",
        "{{ (10 ** 900) ** 900 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%*d' % (1000000000, 1) }}",
        "{{ '%1000000000d' | format(1) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ '{:{}}'.format(1, 1000000000) }}",
        "{{ '{:f}'.format(row.huge) }}",
        "{{ row.huge | int }}",
        "{{ 'x'.zfill(1000000000) }}",
        "{{ row.day.strftime('%1000000000d') }}",
        "{{ 'x' | center(1000000000) }}",
        "{{ 'x' | indent(1000000000) }}",
        "{{ [1] | batch(1000000000, 'x') | list }}",
        "{{ 1 | round(1000000000, 'ceil') }}",
        "{{ row.long | replace('x', row.long) }}",
        "{{ row.long.replace('x', row.long) }}",
        "{{ row.long.join(row.long) }}",
        "{{ row.long | join(row.long) }}",
        "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
        "{% for a in range(1000000000) %}{% endfor %}",
        "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
        "{% set ns = namespace(t='xx') %}{% for a in range(99) %}{% set ns.t = ns.t ~ ns.t %}{% endfor %}",
        "{% set ns = namespace(t=[1]) %}{% for a in range(99) %}{% set ns.t = ns.t + ns.t %}{% endfor %}",
        "{% for a in range(9999) %}{{ row.long }}{% endfor %}",
        "{% set t %}{% for a in range(9999) %}{{ row.long }}{% endfor %}{% endset %}{{ t | length }}",
    ],
)
def test_a_template_costs_neither_time_nor_memory(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="^message"):
        render(text, params={})


@pytest.mark.parametrize(
    "text",
    [
        "{% include 'secrets.txt' %}",
        "{% import 'x' as x %}",
        "{% extends 'x' %}",
        "{% for a in row.b recursive %}{% endfor %}",
    ],
)
def test_what_a_message_may_not_have_is_refused_before_there_is_a_row(text: str) -> None:
    with pytest.raises(
        InvalidRequestError, match="message: line 1 of the template: the message of a campaign can't have"
    ):
        render(text)


@pytest.mark.parametrize("name", ["conn", "var", "ti", "macros", "dag_run", "task"])
def test_airflows_other_names_are_refused_before_there_is_a_row(name: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"message: must be made of row, params, values .*, got '{name}'"):
        compiled(f"{{{{ {name}.x }}}}", MessageEnvironment(None), {name: object()}, {})


def test_functions_of_the_dag_are_there_and_modules_are_not() -> None:
    dag = DAG("shop", user_defined_macros={"shout": str.upper, "os": os, "shop": "A1"})
    assert render("{{ shout(row.name) }} {{ shop }}", dag) == "ANN A1"
    with pytest.raises(InvalidRequestError, match="'os' is undefined"):
        render("{{ os.environ }}", dag)
