"""The key of a recipient: a version that made another one would send a campaign that has begun once more."""

from __future__ import annotations

import pytest

from airflow_provider_linq.campaigns._model import recipient_key

ANN, BOB = "+12025550121", "bob@example.com"


@pytest.mark.parametrize(
    ("to", "key"),
    [
        ([ANN], "airflow-7616b0e56123adf36f9085f413379097a107547a79594c110a48045fb669891c"),
        ([BOB, ANN], "airflow-4146c3d60e1d6bd61f7c1d0e763014268357fb6f84b53efccfc24d49d6b3e036"),
        ([ANN, BOB], "airflow-4146c3d60e1d6bd61f7c1d0e763014268357fb6f84b53efccfc24d49d6b3e036"),
    ],
)
def test_a_key_is_the_same_in_all_versions(to: list[str], key: str) -> None:
    assert recipient_key("spring", to) == key


def test_a_number_has_the_same_key_in_each_of_its_forms() -> None:
    assert recipient_key("spring", ["+5215550100134", ANN]) == recipient_key("spring", ["+525550100134", ANN])
