"""From rows to recipients: templates over a row, and all that is checked before anything is sent."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import jinja2
import pytest
from airflow.sdk import DAG
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_linq.campaigns._model import Outcome, recipient_key
from airflow_provider_linq.campaigns._validate import Checked, check_rows, compiled, environment, report
from airflow_provider_linq.campaigns._rows import Row
from linq_client import InvalidRequestError, Message, MessageLike

ANN, BOB, CAT = "+12025550121", "+12025550122", "+12025550123"


def render(message: MessageLike, row: Row, dag: DAG | None = None, /, **context: Any) -> MessageLike:
    return compiled(message, environment(dag), context)(row)


def check(rows: Any, message: MessageLike = "Hello", **arguments: Any) -> Checked:
    defaults: dict[str, Any] = {"campaign_key": "spring", "to_field": "to", "timezone": "UTC", "timezone_field": None}
    make = compiled(message, environment(None), {})
    return check_rows(rows, make, **{**defaults, "first_in_chat": False, **arguments})


def details(checked: Checked) -> list[tuple[int, str | None]]:
    return [(outcome.row, outcome.detail) for outcome in checked.left_out]


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
        ("{{ row.__class__.__mro__ }}", "message: the template fails on this row with SecurityError"),
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
    make = compiled({"parts": [{"value": "{{ row.name }}"}]}, environment(None), {})
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
        compiled(message, environment(None), {})


def test_the_environment_is_that_of_the_dag_but_strict_and_sandboxed() -> None:
    class Lenient(jinja2.StrictUndefined):
        __str__ = jinja2.Undefined.__str__

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


def test_who_is_written_to() -> None:
    rows = [{"to": ANN, "name": "Ann"}, {"to": "Bob@Example.org", "name": "Bob"}, {"to": [CAT, BOB], "name": "you two"}]
    checked = check(rows, "Hi {{ row.name }}")
    assert checked.left_out == []
    assert [(r.number, r.to) for r in checked.recipients] == [(1, (ANN,)), (2, ("bob@example.org",)), (3, (BOB, CAT))]
    assert [r.row for r in checked.recipients] == rows
    assert [r.key for r in checked.recipients] == [recipient_key("spring", r.to) for r in checked.recipients]


def test_keys_are_of_the_campaign_and_the_recipient_alone() -> None:
    (one,) = check([{"to": f"{ANN} {BOB}", "x": 1}], "Hi").recipients
    (_, same) = check([{"to": CAT}, {"to": [BOB, ANN, BOB]}], "Ho").recipients
    (other,) = check([{"to": [ANN, BOB]}], "Hi", campaign_key="autumn").recipients
    assert one.key == same.key != other.key


@given(st.lists(st.sampled_from([ANN, BOB, CAT, "ann@example.org"]), min_size=1, max_size=31), st.data())
def test_handles_in_any_form_are_one_recipient(handles: list[str], data: st.DataObject) -> None:
    between, end = st.sampled_from([",", ";", " ", ", ", " ;\n"]), data.draw(st.sampled_from(["", " ", ","]))
    text = end + "".join(handle + data.draw(between) for handle in handles[:-1]) + handles[-1] + end
    for form in (handles, tuple(handles), text, text.upper()):
        (recipient,) = check([{"to": form}]).recipients
        assert recipient.to == tuple(sorted(set(handles)))


@pytest.mark.parametrize(
    ("row", "to", "detail"),
    [
        ({}, (), "to: must be a handle or several, got none"),
        ({"to": None}, (), "to: must be a handle or several, got none"),
        ({"to": float("nan")}, (), "to: must be a handle or several, got none"),
        ({"to": " , "}, (), "to: must be 1 to 31 handles, got 0"),
        ({"to": 12025550121}, (), "to: must be a handle or a list of them, got int"),
        ({"to": [f"+120255501{n:02}" for n in range(32)]}, (), "to: must be 1 to 31 handles, got 32"),
        ({"to": f"{ANN},2025550122"}, (), r"to[1]: must be an E.164 number .*, got '2025550122'"),
        ({"to": ANN, "name": ""}, (ANN,), "message: row.name is missing or empty"),
        (
            {"to": ANN, "name": "x" * 10_001},
            (ANN,),
            r"parts[0].value: .* at most 10000 characters, got 10,001 characters",
        ),
        ({"to": ANN, "name": " None "}, (ANN,), r"message.parts[0].value: must say something, .*"),
        ({"to": ANN, "zone": "Berlin"}, (ANN,), "zone: must be the IANA name of a time zone, got 'Berlin'"),
        ({"to": ANN, "zone": "Europe"}, (ANN,), "zone: must be the IANA name of a time zone, got 'Europe'"),
        ({"to": ANN, "zone": "../UTC"}, (ANN,), "zone: must be the IANA name of a time zone, got '../UTC'"),
        ({"to": ANN, "zone": 1}, (ANN,), "zone: must be the IANA name of a time zone, got '1'"),
    ],
)
def test_a_row_that_breaks_a_rule_is_left_out_and_says_which(row: dict[str, Any], to: Any, detail: str) -> None:
    rows = [{"to": CAT, "name": "Cat"}, {"name": "Ann", **row}]
    checked = check(rows, "{{ row.name }}", timezone_field="zone")
    assert [recipient.to for recipient in checked.recipients] == [(CAT,)]
    (left,) = checked.left_out
    assert (left.row, left.to, left.status, left.reason) == (2, to, "skipped", "invalid")
    start, _, end = detail.partition(".*")
    assert str(left.detail).startswith(start)
    assert str(left.detail).endswith(end)


@given(secret=st.text(st.characters(categories=["L"], min_codepoint=0x3B1), min_size=9, max_size=200))
def test_no_report_shows_the_text(secret: str) -> None:
    rows = [
        {"to": ANN, "text": f"{secret} www.example.org"},
        {"to": ANN, "text": secret * 10_000},
        {"to": f"{secret} {secret}", "text": "Hi"},
        {"to": [secret * 10], "text": "Hi"},
    ]
    checked = check(rows, "{{ row.text }}", first_in_chat=True)
    assert len(checked.left_out) == 4
    assert secret not in report(checked.left_out, 4)


def test_the_rules_of_first_messages_count_where_a_chat_may_be_new() -> None:
    rows = [{"to": ANN, "text": "see https://example.org"}, {"to": BOB, "text": "see you"}]
    assert check(rows, "{{ row.text }}").left_out == []
    (left,) = check(rows, "{{ row.text }}", first_in_chat=True).left_out
    assert left.detail == (
        "message.parts[0].value: no URL in the first message of a chat, got 'https://' at character 4"
    )


def test_files_are_not_looked_at() -> None:
    message = {"parts": [{"path": "s3://shop/{{ row.card }}.png"}]}
    assert len(check([{"to": ANN, "card": "c1"}], message).recipients) == 1
    assert details(check([{"to": ANN}], message)) == [(1, "message.parts[0].path: row.card is missing or empty")]


def test_a_second_row_for_the_same_handles_is_a_duplicate() -> None:
    rows = [{"to": [ANN, BOB]}, {"to": ANN}, {"to": f"{BOB};{ANN}"}, {"to": [ANN, ANN]}]
    checked = check(rows)
    assert [recipient.number for recipient in checked.recipients] == [1, 2]
    assert [(left.row, left.status, left.reason) for left in checked.left_out] == [
        (3, "skipped", "duplicate"),
        (4, "skipped", "duplicate"),
    ]
    assert [left.detail for left in checked.left_out] == [
        "to: must not be that of an earlier row, got that of row 1",
        "to: must not be that of an earlier row, got that of row 2",
    ]


def test_a_row_that_is_invalid_takes_the_place_of_none() -> None:
    rows = [{"to": ANN, "name": ""}, {"to": ANN, "name": "Ann"}]
    assert [recipient.number for recipient in check(rows, "{{ row.name }}").recipients] == [2]


def test_time_zones_are_those_of_the_rows_or_the_default() -> None:
    rows = [{"to": ANN, "zone": "America/New_York"}, {"to": BOB, "zone": ""}, {"to": CAT, "zone": float("nan")}]
    zones = [r.timezone for r in check(rows, timezone="Europe/Berlin", timezone_field="zone").recipients]
    assert zones == ["America/New_York", "Europe/Berlin", "Europe/Berlin"]
    assert {r.timezone for r in check(rows, timezone="Europe/Berlin").recipients} == {"Europe/Berlin"}


def test_the_name_of_a_time_zone_is_kept_once() -> None:
    rows = [{"to": to, "zone": "/".join(["Europe", "Berlin"])} for to in (ANN, BOB, CAT)]
    assert len({id(r.timezone) for r in check(rows, timezone_field="zone").recipients}) == 1


def test_a_default_time_zone_that_is_none_is_no_fault_of_a_row() -> None:
    with pytest.raises(InvalidRequestError, match=r"^timezone: must be the IANA name of a time zone, got 'Berlin'$"):
        check([{"to": ANN}], timezone="Berlin")


def test_a_report_names_every_row_by_what_is_wrong() -> None:
    rows = [{"to": ANN}, {"to": ANN}, {"to": "12"}, {}, {"to": "13"}, {}]
    assert report(check(rows).left_out, 6).splitlines() == [
        "5 of 6 rows can't be sent to:",
        "- duplicate: to: must not be that of an earlier row: row 2 (that of row 1)",
        "- invalid: to[0]: must be an E.164 number (no spaces, dashes, parentheses) or an e-mail address: "
        "row 3 ('12'), 5 ('13')",
        "- invalid: to: must be a handle or several: row 4 (none), 6 (none)",
    ]


def test_a_long_report_says_how_much_it_leaves_out_and_where_that_is() -> None:
    many = [Outcome(n, (), "skipped", "invalid", "to: must be a handle or several, got none") for n in range(1, 2013)]
    text = report(many, 5_000)
    assert text.startswith("2,012 of 5,000 rows")
    assert "row 1 (none), 2 (none)" in text
    assert "10 (none) and 2,002 more" in text
    assert text.endswith("With outcomes_path, that file names every row.")
    kinds = [Outcome(n, (), "skipped", "invalid", f"to[{n}]: must be, got 'x'") for n in range(500)]
    assert "- and 480 other problems\nWith outcomes_path, that file names every row." in report(kinds, 500)
    assert len(report(kinds, 500)) < 2_000


def test_a_campaign_of_100_000_stays_far_below_300_mb() -> None:
    count = 4_000

    def rows() -> Iterator[Mapping[str, Any]]:
        for n in range(count):
            yield {"to": f"user{n}@example.org", "name": f"Name {n}", "city": f"City {n}", "zone": "Europe/Berlin"}

    long = "Hi {{ row.name }} of {{ row.city }}" + "!" * 5_000
    check([next(rows())], long)  # what is made once is not counted
    tracemalloc.start()
    try:
        checked = check(rows(), long, timezone_field="zone")
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(checked.recipients) == count
    assert used / count * 100_000 < 120e6
