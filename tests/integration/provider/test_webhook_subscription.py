"""The operator of webhook subscriptions in whole DAG runs: the secret in a Variable, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from airflow.models.variable import Variable

from airflow_provider_linq._internal.secret_variable import StoredSecrets
from airflow_provider_linq._internal.version_compat import AirflowFailException
from airflow_provider_linq.operators.webhooks import LinqWebhookSubscriptionOperator
from linq_client import LinqClient, SettingsError
from tests.support.airflow import BUNDLES, Run, context, dags_of
from tests.support.emulator_process import Emulator

NAME = "linq_webhook_secret"
URL = "http://127.0.0.1:9/linq"

pytestmark = pytest.mark.filterwarnings("ignore:Using `httpx` with `starlette.testclient` is deprecated")


@pytest.fixture
def client(emulator: Emulator) -> LinqClient:
    return LinqClient(emulator.api_key, base_url=emulator.base_url)


@pytest.fixture
def run(airflow_db: None, connect: Callable[..., None]) -> Callable[..., Run]:
    dags = dags_of(BUNDLES["tests"] / "webhook_subscription.py")
    Variable.delete(NAME)
    return lambda dag_id="webhook_subscription", **params: Run(dags[dag_id].test(run_conf=params))


def stored() -> dict[str, str]:
    return dict(StoredSecrets.from_json(NAME, Variable.get(NAME, deserialize_json=True)).secrets)


def test_it_is_created_updated_and_deleted_and_its_secret_is_in_a_variable_alone(
    emulator: Emulator, client: LinqClient, run: Callable[..., Run], capfd: pytest.CaptureFixture[str]
) -> None:
    created = run().xcom("subscribe")
    assert created["change"] == "created"
    (present,) = client.webhook_subscriptions.list()
    assert created["subscription_id"] == present.id
    assert created["target_url"] == present.target_url == f"{URL}?version=2026-02-03"
    secret = stored()[present.id]
    assert secret.startswith("whsec_")

    updated = run(events=["message.read"]).xcom("subscribe")
    assert (updated["change"], updated["subscription_id"]) == ("updated", present.id)
    assert set(updated["subscribed_events"]) == {"message.received", "message.sent", "message.read"}
    assert stored() == {present.id: secret}

    deleted = run("webhook_subscription_deleted").xcom("subscribe")
    assert (deleted["change"], deleted["subscription_id"]) == ("deleted", None)
    assert client.webhook_subscriptions.list() == []
    assert Variable.get(NAME, default_var=None) is None

    shown = "".join(capfd.readouterr())
    assert "Webhook subscription: created" in shown
    assert secret not in shown + json.dumps([created, updated, deleted])
    assert secret.removeprefix("whsec_") not in shown


def test_a_try_whose_response_was_lost_makes_no_second_one(
    emulator: Emulator, client: LinqClient, run: Callable[..., Run]
) -> None:
    fault = {"kind": "reset", "when": "after", "path": "/webhook-subscriptions$", "method": "POST", "count": 1}
    emulator.control("POST", "faults", fault)
    assert run().states("subscribe") == ["failed"]
    assert run().xcom("subscribe")["change"] == "replaced"
    (only,) = client.webhook_subscriptions.list()
    assert list(stored()) == [only.id]


def test_a_subscription_with_an_unknown_secret_fails_without_a_retry_unless_it_may_be_replaced(
    emulator: Emulator, client: LinqClient, run: Callable[..., Run], capfd: pytest.CaptureFixture[str]
) -> None:
    theirs = client.webhook_subscriptions.create(URL, ["message.sent"])
    assert run().states("subscribe") == ["failed"]
    assert f"subscription {theirs.id} for this URL exists" in "".join(capfd.readouterr())
    assert run("webhook_subscription_replaced").xcom("subscribe")["change"] == "replaced"
    assert theirs.id not in stored()


def test_a_variable_that_is_read_from_elsewhere_is_refused_before_anything_is_created(
    emulator: Emulator,
    client: LinqClient,
    run: Callable[..., Run],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(f"AIRFLOW_VAR_{NAME.upper()}", json.dumps(StoredSecrets().to_json()))
    assert run().states("subscribe") == ["failed"]
    assert "must be a Variable that can be written" in "".join(capfd.readouterr())
    assert client.webhook_subscriptions.list() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"secret_variable": None}, "secret_variable: must name the Variable"),
        ({"secret_variable": "linq_key"}, 'with the word "secret" in it'),
        ({"target_url": "ftp://example.com"}, "target URL: must be an https URL"),
        ({"phone_numbers": ["me"]}, "phone_numbers: must be"),
    ],
)
def test_what_is_wrong_is_refused_before_any_request(offline: None, arguments: dict[str, Any], message: str) -> None:
    given = {"target_url": URL, "secret_variable": NAME, **arguments}
    with pytest.raises(AirflowFailException, match=message):
        LinqWebhookSubscriptionOperator(task_id="t", **given).execute(context())


def test_a_state_that_does_not_exist_is_an_import_error() -> None:
    with pytest.raises(ValueError, match="state must be one of present, absent"):
        LinqWebhookSubscriptionOperator(task_id="t", target_url=URL, state="gone")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "stored",
    [
        "whsec_c2VjcmV0",
        {"format": 2, "secrets": {}},
        {"format": 0, "secrets": {}},
        {"secrets": {"a": "whsec_c2VjcmV0"}},
        {"format": 1, "secrets": {"a": "s3cr3t"}},
        {"format": 1, "secrets": {}, "creating_since": "whsec_c2VjcmV0"},
        {"format": 1},
        [],
    ],
)
def test_what_holds_no_secrets_is_refused_without_being_shown(stored: Any) -> None:
    with pytest.raises(SettingsError, match="^Variable linq_webhook_secret: ") as refused:
        StoredSecrets.from_json(NAME, stored)
    assert "c2VjcmV0" not in str(refused.value)
    assert "s3cr3t" not in str(refused.value)


def test_the_secret_before_is_kept_and_fields_of_a_later_version_are_passed_over() -> None:
    stored = {"format": 1, "secrets": {"a": "whsec_YQ==", "b": "whsec_Yg=="}, "creating_since": None, "later": 1}
    secrets = StoredSecrets.from_json(NAME, stored).with_secret("c", "whsec_Yw==")
    assert list(secrets.secrets) == ["b", "c"]
    assert "whsec_" not in repr(secrets)
