"""Handles that differ and reach the same person."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linq_client import comparable_handle, handle_forms


@pytest.mark.parametrize(
    ("without", "with_digit"),
    [
        ("+525550100134", "+5215550100134"),
        ("+541155550134", "+5491155550134"),
        ("+551195550134", "+5511995550134"),
        ("+551165550134", "+5511965550134"),
    ],
)
def test_a_number_with_a_digit_that_may_be_left_out(without: str, with_digit: str) -> None:
    assert handle_forms(without) == handle_forms(with_digit) == (without, with_digit)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("+12025550121", "+112025550121"),
        ("+551125550134", "+5511925550134"),  # without the digit, a number of a house
        ("+52155501001", "+5255501001"),  # neither is long enough
        ("+52155501001345", "+5255501001345"),
        ("+549115555013", "+54115555013"),
        ("525550100134", "5215550100134"),
    ],
)
def test_numbers_that_are_of_two_people(one: str, other: str) -> None:
    assert comparable_handle(one) != comparable_handle(other)


@given(st.from_regex(r"\+5[245][0-9]{6,13}", fullmatch=True) | st.emails())
def test_all_forms_of_a_handle_are_equal_to_compare(handle: str) -> None:
    forms = handle_forms(handle)
    assert handle.lower() in forms
    assert {comparable_handle(form) for form in forms} == {forms[0]}
    assert all(handle_forms(form) == forms for form in forms)
