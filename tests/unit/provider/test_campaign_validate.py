"""From rows to recipients: all that is checked before anything is sent."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_linq._internal.uploads import FileRules
from airflow_provider_linq.campaigns._model import Outcome, Recipient, recipient_key
from airflow_provider_linq.campaigns._sandbox import MessageEnvironment
from airflow_provider_linq.campaigns._templates import columns_named, compiled
from airflow_provider_linq.campaigns._validate import ValidatedRows, format_rejections, validate_rows
from linq_client import InvalidRequestError, MessageLike
from tests.support.campaigns import campaign

ANN, BOB, CAT = "+12025550121", "+12025550122", "+12025550123"


def validate(rows: Any, message: MessageLike = "Hello", **arguments: Any) -> ValidatedRows:
    defaults: dict[str, Any] = {"campaign_key": "spring", "to_field": "to", "timezone": "UTC", "timezone_field": None}
    env = MessageEnvironment(None)
    make = compiled(message, env, {}, {})
    named = columns_named(message, env)
    return validate_rows(rows, make, **{**defaults, "first_in_chat": False, "named": named, **arguments})


def details(validated: ValidatedRows) -> list[tuple[int, str | None]]:
    return [(outcome.row, outcome.detail) for outcome in validated.excluded]


def test_who_is_written_to() -> None:
    rows = [{"to": ANN, "name": "Ann"}, {"to": "Bob@Example.org", "name": "Bob"}, {"to": [CAT, BOB], "name": "you two"}]
    validated = validate(rows, "Hi {{ row.name }}")
    assert validated.excluded == []
    assert [(r.number, r.to) for r in validated.recipients] == [(1, (ANN,)), (2, ("bob@example.org",)), (3, (BOB, CAT))]
    assert [r.row for r in validated.recipients] == rows
    assert [r.key for r in validated.recipients] == [recipient_key("spring", r.to) for r in validated.recipients]


def test_keys_are_of_the_campaign_and_the_recipient_alone() -> None:
    (one,) = validate([{"to": f"{ANN} {BOB}", "x": 1}], "Hi", groups=True).recipients
    (_, same) = validate([{"to": CAT}, {"to": [BOB, ANN, BOB]}], "Ho").recipients
    (other,) = validate([{"to": [ANN, BOB]}], "Hi", campaign_key="autumn").recipients
    assert one.key == same.key != other.key


@given(st.lists(st.sampled_from([ANN, BOB, CAT, "ann@example.org"]), min_size=1, max_size=9), st.integers(0, 2**32))
def test_handles_in_any_form_are_one_recipient(handles: list[str], seed: int) -> None:
    rng = random.Random(seed)
    end = rng.choice(["", " ", ","])
    text = (
        end + "".join(handle + rng.choice([",", ";", " ", ", ", " ;\n"]) for handle in handles[:-1]) + handles[-1] + end
    )
    for form in (handles, tuple(handles), text, text.upper()):
        (recipient,) = validate([{"to": form}], groups=True).recipients
        assert recipient.to == tuple(sorted(set(handles)))


@pytest.mark.parametrize(
    ("row", "to", "detail"),
    [
        ({}, (), "to: must be a handle, or a list of them for a group, got none"),
        ({"to": None}, (), "to: must be a handle, or a list of them for a group, got none"),
        ({"to": float("nan")}, (), "to: must be a handle, or a list of them for a group, got none"),
        ({"to": " , "}, (), "to: must be 1 to 31 handles, got 0"),
        ({"to": 12025550121}, (), "to: must be a handle or a list of them, got int"),
        ({"to": [f"+120255501{n:02}" for n in range(32)]}, (), "to: must be 1 to 31 handles, got 32"),
        ({"to": f"{ANN},2025550122"}, (), "to: must be one handle, or a list for a group; with groups=True, .*, got 2"),
        ({"to": f"{ANN} / {BOB}"}, (), "to: must be one handle, or a list for a group; with groups=True, .*, got 2"),
        ({"to": [ANN, "2025550122"]}, (), r"to[1]: must be an E.164 number .*, got '2025550122'"),
        ({"to": "+1 202 555 0121"}, (), r"to[0]: must be an E.164 number .*"),
        ({"to": "+44"}, (), "to: must be a whole number with its country code, got '+44'"),
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
def test_a_row_that_breaks_a_rule_is_excluded_and_says_which(row: dict[str, Any], to: Any, detail: str) -> None:
    rows = [{"to": CAT, "name": "Cat", "zone": None}, {"name": "Ann", **row}]
    validated = validate(rows, "{{ row.name }}", timezone_field="zone")
    assert [recipient.to for recipient in validated.recipients] == [(CAT,)]
    (excluded,) = validated.excluded
    assert (excluded.row, excluded.to, excluded.status, excluded.reason) == (2, to, "skipped", "invalid")
    start, _, end = detail.partition(".*")
    assert str(excluded.detail).startswith(start)
    assert str(excluded.detail).endswith(end)


@given(secret=st.text(st.characters(categories=["L"], min_codepoint=0x3B1), min_size=9, max_size=200))
def test_no_report_shows_the_text(secret: str) -> None:
    rows = [
        {"to": ANN, "text": f"{secret} www.example.org"},
        {"to": ANN, "text": secret * 10_000},
        {"to": f"{secret} {secret}", "text": "Hi"},
        {"to": [secret * 10], "text": "Hi"},
    ]
    validated = validate(rows, "{{ row.text }}", first_in_chat=True)
    assert len(validated.excluded) == 4
    assert secret not in format_rejections(validated.excluded, 4)


def test_the_rules_of_first_messages_count_where_a_chat_may_be_new() -> None:
    rows = [{"to": ANN, "text": "see https://example.org"}, {"to": BOB, "text": "see you"}]
    assert validate(rows, "{{ row.text }}").excluded == []
    (excluded,) = validate(rows, "{{ row.text }}", first_in_chat=True).excluded
    assert excluded.detail == (
        "message.parts[0].value: no URL in the first message of a chat, got 'https://' at character 4"
    )


def test_files_are_not_looked_at() -> None:
    message = {"parts": [{"path": "s3://shop/{{ row.card }}.png"}]}
    rules = FileRules.of(message, "s3://shop/")
    assert len(validate([{"to": ANN, "card": "c1"}], message, files=rules).recipients) == 1
    assert details(validate([{"to": ANN, "card": ""}], message)) == [
        (1, "message.parts[0].path: row.card is missing or empty")
    ]


def test_a_second_row_for_the_same_handles_is_a_duplicate() -> None:
    rows = [{"to": [ANN, BOB]}, {"to": ANN}, {"to": f"{BOB};{ANN}"}, {"to": [ANN, ANN]}]
    validated = validate(rows, groups=True)
    assert [recipient.number for recipient in validated.recipients] == [1, 2]
    assert [(excluded.row, excluded.status, excluded.reason) for excluded in validated.excluded] == [
        (3, "skipped", "duplicate"),
        (4, "skipped", "duplicate"),
    ]
    assert [excluded.detail for excluded in validated.excluded] == [
        "to: must not be that of an earlier row, got that of row 1",
        "to: must not be that of an earlier row, got that of row 2",
    ]


@pytest.mark.parametrize(("one", "other"), [("+5215550100134", "+525550100134"), ("+551195550134", "+5511995550134")])
def test_a_number_in_another_form_is_a_duplicate(one: str, other: str) -> None:
    validated = validate([{"to": one}, {"to": other}, {"to": ANN}])
    assert [recipient.to for recipient in validated.recipients] == [(one,), (ANN,)], "sent to as it was given"
    assert [(excluded.row, excluded.reason) for excluded in validated.excluded] == [(2, "duplicate")]


def test_a_row_that_is_invalid_takes_the_place_of_none() -> None:
    rows = [{"to": ANN, "name": ""}, {"to": ANN, "name": "Ann"}]
    assert [recipient.number for recipient in validate(rows, "{{ row.name }}").recipients] == [2]


def test_the_recipient_of_an_invalid_row_is_kept_for_what_an_earlier_try_may_have_sent() -> None:
    rows = [
        {"to": ANN, "name": ""},
        {"to": [CAT, BOB], "name": "", "zone": "Asia/Tokyo"},
        {"to": f"{BOB} {CAT}", "name": ""},
        {"to": "nobody", "name": "X"},
        {"to": CAT, "name": "Cat", "zone": "Mars"},
    ]
    validated = validate(rows, "{{ row.name }}", timezone="Europe/Berlin", timezone_field="zone", groups=True)
    assert not validated.recipients
    key = recipient_key("spring", [BOB, CAT])
    assert validated.unsendable == [
        Recipient(1, (ANN,), recipient_key("spring", [ANN]), None, "Europe/Berlin"),
        Recipient(3, (BOB, CAT), key, None, "Europe/Berlin"),
        Recipient(5, (CAT,), recipient_key("spring", [CAT]), None, "Europe/Berlin"),
    ]
    assert (validated.invalid, len(validated)) == (5, 5)


@pytest.mark.parametrize("order", [1, -1])
def test_who_has_a_valid_row_as_well_is_sendable(order: int) -> None:
    rows = [{"to": ANN, "name": "Ann"}, {"to": ANN, "name": ""}, {"to": ANN, "name": "Anna"}][::order]
    validated = validate(rows, "{{ row.name }}")
    assert [recipient.to for recipient in validated.recipients] == [(ANN,)]
    assert validated.unsendable == []


MISSING = [
    ("Hello", {"to_field": "phone"}, "to_field: must be a column of the rows, which have Name, to; got 'phone'"),
    (
        "Hello",
        {"timezone_field": "zone"},
        "timezone_field: must be a column of the rows, which have Name, to; got 'zone'",
    ),
    ("Hi {{ row.name }}", {}, "message: must name columns of the rows, which have Name, to; got name"),
    ("Hi {{ row['na me'] }}", {}, "message: must name columns of the rows, which have Name, to; got na me"),
    (
        "{{ row.b }}{{ row.Name }}{{ row.a }}",
        {},
        "message: must name columns of the rows, which have Name, to; got a, b",
    ),
    ("Hi {{ row.name | default('you') }}", {}, "message: must name columns of the rows, which have Name, to; got name"),
    ("{% if row.name is defined %}Hi{% endif %} ho", {}, "message: must name .*; got name"),
    (["Hi {{ row.Name }}", {"path": "s3://shop/{{ row.card }}.png"}], {}, "message: must name .*; got card"),
    ({"parts": [{"value": "Hi"}], "effect": {"name": "{{ row.effect }}"}}, {}, "message: must name .*; got effect"),
]


@pytest.mark.parametrize(("message", "arguments", "rule"), MISSING)
def test_a_name_that_is_a_column_of_no_row_is_refused(message: Any, arguments: dict[str, Any], rule: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"^{rule}$"):
        validate([{"to": ANN, "Name": "Ann"}, {"to": BOB}], message, **arguments)


def test_a_column_of_some_rows_is_a_column() -> None:
    rows = [{"to": ANN}, {"to": BOB, "name": None, "zone": ""}, {}]
    validated = validate(rows, "Hi {{ row.name | default('you') }}", timezone_field="zone")
    assert [recipient.to for recipient in validated.recipients] == [(ANN,), (BOB,)]
    validated = validate(rows, "Hi {{ row.name }}", timezone_field="zone")
    assert [outcome.detail for outcome in validated.excluded][:2] == ["message: row.name is missing or empty"] * 2


def test_of_many_columns_some_are_named() -> None:
    row = {f"column {number:03}": 1 for number in range(500)}
    with pytest.raises(InvalidRequestError, match="^to_field: .*, which have column 000, .*, column 019; got 'to'$"):
        validate([row])


def test_where_there_are_no_rows_no_column_is_missed() -> None:
    assert len(validate([], "Hi {{ row.name }}", timezone_field="zone")) == 0


def test_time_zones_are_those_of_the_rows_or_the_default() -> None:
    rows = [{"to": ANN, "zone": "America/New_York"}, {"to": BOB, "zone": ""}, {"to": CAT, "zone": float("nan")}]
    zones = [r.timezone for r in validate(rows, timezone="Europe/Berlin", timezone_field="zone").recipients]
    assert zones == ["America/New_York", "Europe/Berlin", "Europe/Berlin"]
    assert {r.timezone for r in validate(rows, timezone="Europe/Berlin").recipients} == {"Europe/Berlin"}


def test_the_name_of_a_time_zone_is_kept_once() -> None:
    rows = [{"to": to, "zone": "/".join(["Europe", "Berlin"])} for to in (ANN, BOB, CAT)]
    assert len({id(r.timezone) for r in validate(rows, timezone_field="zone").recipients}) == 1


def test_a_default_time_zone_that_is_none_is_no_fault_of_a_row() -> None:
    with pytest.raises(InvalidRequestError, match=r"^timezone: must be the IANA name of a time zone, got 'Berlin'$"):
        validate([{"to": ANN}], timezone="Berlin")


def test_a_report_names_every_row_by_what_is_wrong() -> None:
    rows = [{"to": ANN}, {"to": ANN}, {"to": "12"}, {}, {"to": "13"}, {}]
    assert format_rejections(validate(rows).excluded, 6).splitlines() == [
        "5 of 6 rows can't be sent to:",
        "- duplicate: to: must not be that of an earlier row: row 2 (that of row 1)",
        "- invalid: to[0]: must be an E.164 number (no spaces, dashes, parentheses) or an e-mail address: "
        "row 3 ('12'), 5 ('13')",
        "- invalid: to: must be a handle, or a list of them for a group: row 4 (none), 6 (none)",
    ]


def test_a_long_report_says_how_much_it_leaves_out_and_where_that_is() -> None:
    many = [
        Outcome(n, (), "skipped", "invalid", "to: must be a handle, or a list of them for a group, got none")
        for n in range(1, 2013)
    ]
    text = format_rejections(many, 5_000)
    assert text.startswith("2,012 of 5,000 rows")
    assert "row 1 (none), 2 (none)" in text
    assert "10 (none) and 2,002 more" in text
    assert text.endswith("With outcomes_path, that file names every row.")
    kinds = [Outcome(n, (), "skipped", "invalid", f"to[{n}]: must be, got 'x'") for n in range(500)]
    assert "- and 480 other problems\nWith outcomes_path, that file names every row." in format_rejections(kinds, 500)
    assert len(format_rejections(kinds, 500)) < 2_000


def test_a_campaign_of_100_000_stays_far_below_300_mb() -> None:
    count = 2_000

    def rows() -> Iterator[Mapping[str, Any]]:
        for n in range(count):
            yield {"to": f"user{n}@example.org", "name": f"Name {n}", "city": f"City {n}", "zone": "Europe/Berlin"}

    long = "Hi {{ row.name }} of {{ row.city }}" + "!" * 5_000
    validate([next(rows())], long)  # what is made once is not counted
    tracemalloc.start()
    try:
        validated = validate(rows(), long, timezone_field="zone")
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(validated.recipients) == count
    assert used / count * 100_000 < 120e6


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"max_invalid": 1}, "max_invalid goes with on_invalid='skip'"),
        ({"max_invalid": -1, "on_invalid": "skip"}, "max_invalid must be 0 or more, got -1"),
        ({"max_invalid": float("nan"), "on_invalid": "skip"}, "max_invalid must be 0 or more, got nan"),
        ({"max_invalid": True, "on_invalid": "skip"}, "max_invalid must be 0 or more, got True"),
    ],
)
def test_a_limit_of_invalid_rows_that_can_not_be_is_refused(arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        campaign(rows=[], **arguments)


class Strange:
    """A value that has no text."""

    def __str__(self) -> str:
        raise ArithmeticError("secret")


class Listed:
    """Several handles, as an array of NumPy has them."""

    def __len__(self) -> int:
        return 2

    def tolist(self) -> list[str]:
        return [ANN, BOB]


@pytest.mark.parametrize(
    "value",
    [Strange(), Decimal("sNaN"), 10**5_000, b"\xff", object(), [object()], [[ANN]], {"to": ANN}],
    ids=lambda value: type(value).__name__,
)
def test_a_value_that_nothing_can_be_made_of_is_one_rows_fault(value: Any) -> None:
    rows = [
        {"to": CAT, "name": "Cat"},
        {"to": value, "name": "x"},
        {"to": Listed(), "name": "you"},
        {"to": BOB, "name": value},
    ]
    validated = validate(rows, "Hi {{ row.name | upper }}")
    assert [recipient.to for recipient in validated.recipients if recipient.number in (1, 3)] == [(CAT,), (ANN, BOB)]
    assert validated.excluded[0].row == 2
    assert "secret" not in format_rejections(validated.excluded, 4)


@pytest.mark.parametrize("handle", ["+44", "+123456"])
def test_a_country_code_alone_is_no_number(handle: str) -> None:
    assert details(validate([{"to": handle}, {"to": ANN}])) == [
        (1, f"to: must be a whole number with its country code, got {handle!r}")
    ]
