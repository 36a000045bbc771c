"""The operator of webhook subscriptions in whole DAG runs: the secret in a Variable, and nowhere else."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

import pytest
from airflow.models.variable import Variable

from airflow_provider_linq._internal import secret_variable
from airflow_provider_linq._internal.secret_variable import StoredSecrets
from airflow_provider_linq._internal.version_compat import AirflowException, AirflowFailException
from airflow_provider_linq.operators import webhooks
from airflow_provider_linq.operators.webhooks import LinqWebhookSubscriptionOperator
from linq_client import LinqClient, LinqError, SettingsError
from tests.support.airflow import BUNDLES, Run, context, dags_of, run_to_end
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
    return lambda dag_id="webhook_subscription", **params: run_to_end(dags[dag_id], params)


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
        ({"phone_numbers": []}, "phone_numbers: must name a line"),
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


def test_fields_of_a_later_version_are_passed_over() -> None:
    stored = {"format": 1, "secrets": {"a": "whsec_YQ=="}, "creating_since": None, "later": 1}
    secrets = StoredSecrets.from_json(NAME, stored)
    assert list(secrets.secrets) == ["a"]
    assert "whsec_" not in repr(secrets)


class Variables:
    """Variables as tasks read and write them, without a database; what others do in between can be called."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.before_set: list[Callable[[], object]] = []

    def get(self, name: str, default: Any = None, deserialize_json: bool = False) -> Any:
        assert deserialize_json
        return json.loads(self.values[name]) if name in self.values else default

    def set(self, name: str, value: Any, description: str | None = None, serialize_json: bool = False) -> None:
        assert serialize_json
        if self.before_set:
            self.before_set.pop()()
        self.values[name] = json.dumps(value)

    def delete(self, name: str) -> None:
        self.values.pop(name, None)

    @property
    def ids(self) -> set[str]:
        return set(self.get(NAME, {"secrets": {}}, deserialize_json=True)["secrets"])


@pytest.fixture
def variables(connect: Callable[..., None], emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Variables:
    emulator.set_switches(duplicate_target_url="allowed")
    found = Variables()
    monkeypatch.setattr(secret_variable, "Variable", found)
    return found


def subscribe(path: str = "linq", **arguments: Any) -> Any:
    url = f"http://127.0.0.1:9/{path}"
    given = {"target_url": url, "secret_variable": NAME, **arguments}
    return LinqWebhookSubscriptionOperator(task_id="t", **given).execute(context())


def lose_response(emulator: Emulator, method: str = "POST") -> None:
    fault = {"kind": "reset", "when": "after", "path": "/webhook-subscriptions", "method": method, "count": 1}
    emulator.control("POST", "faults", fault)


class TestOneVariable:
    """No secret of a subscription that delivers is lost, whoever else uses the Variable."""

    @pytest.mark.parametrize("state", ["present", "absent"])
    def test_it_is_refused_to_another_url_before_anything_is_changed(
        self, client: LinqClient, variables: Variables, state: Any
    ) -> None:
        subscribe("a")
        client.webhook_subscriptions.create("http://127.0.0.1:9/b", ["message.sent"])
        before, there = dict(variables.values), client.webhook_subscriptions.list()
        with pytest.raises(AirflowFailException, match="must name a Variable of this URL and connection alone"):
            subscribe("b", state=state, replace_unknown=True)
        assert variables.values == before
        assert client.webhook_subscriptions.list() == there

    def test_it_is_refused_to_another_account(
        self, monkeypatch: pytest.MonkeyPatch, client: LinqClient, variables: Variables
    ) -> None:
        subscribe()
        monkeypatch.setenv("AIRFLOW_CONN_LINQ_OTHER", os.environ["AIRFLOW_CONN_LINQ_DEFAULT"])
        before = dict(variables.values)
        for state in ("present", "absent"):
            with pytest.raises(AirflowFailException, match="of this URL and connection alone"):
                subscribe(linq_conn_id="linq_other", state=state)
        assert variables.values == before

    def test_secrets_that_were_put_there_by_hand_are_those_of_their_urls(
        self, client: LinqClient, variables: Variables
    ) -> None:
        made = [client.webhook_subscriptions.create(f"http://127.0.0.1:9/{path}", ["message.sent"]) for path in "ab"]
        secrets = {one.id: str(one.signing_secret) for one in made}
        variables.set(NAME, {"format": 1, "secrets": secrets, "creating_since": None}, serialize_json=True)
        for state in ("present", "absent"):
            with pytest.raises(AirflowFailException, match="of this URL and connection alone"):
                subscribe("a", state=state)
        assert variables.ids == set(secrets)

    def test_it_moves_with_the_receiver(self, client: LinqClient, variables: Variables) -> None:
        before = subscribe("a")["subscription_id"]
        client.webhook_subscriptions.delete(before)
        now = subscribe("b")["subscription_id"]
        assert variables.ids == {before, now}
        assert subscribe("b")["change"] == "unchanged"

    def test_a_secret_that_was_replaced_stays_until_the_next_one(
        self, client: LinqClient, variables: Variables
    ) -> None:
        made = [subscribe()["subscription_id"]]
        for _ in range(2):
            client.webhook_subscriptions.delete(made[-1])
            made.append(subscribe()["subscription_id"])
        assert variables.ids == set(made[1:])

    def test_the_task_of_another_url_that_takes_it_meanwhile(self, client: LinqClient, variables: Variables) -> None:
        """Both found it empty, and the claim of one was written over: it ends what it has created."""

        def claimed_by_another() -> None:
            stored = variables.get(NAME, deserialize_json=True)
            variables.set(NAME, {**stored, "target_url": "http://127.0.0.1:9/b"}, serialize_json=True)

        with pytest.MonkeyPatch.context() as patch:
            ensure = webhooks.ensure_subscription

            def later(*arguments: Any, **options: Any) -> Any:
                claimed_by_another()
                return ensure(*arguments, **options)

            patch.setattr(webhooks, "ensure_subscription", later)
            with pytest.raises(AirflowFailException, match="of this URL and connection alone"):
                subscribe("a")
        assert client.webhook_subscriptions.list() == []

    @pytest.mark.parametrize("duplicates", ["allowed", "refused"])
    @pytest.mark.parametrize("write", [1, 2, 3])
    def test_two_tasks_of_one_url_at_the_same_time(
        self, emulator: Emulator, client: LinqClient, variables: Variables, duplicates: Any, write: int
    ) -> None:
        emulator.set_switches(duplicate_target_url=duplicates)
        variables.before_set = [subscribe, *[lambda: None] * (write - 1)]
        with suppress(AirflowException):
            subscribe()
        assert client.webhook_subscriptions.list()
        subscribe()  # the retry, or the next run
        assert {one.id for one in client.webhook_subscriptions.list()} <= variables.ids
        assert subscribe()["change"] == "unchanged"

    def test_what_holds_no_json_is_refused_without_being_shown(self, client: LinqClient, variables: Variables) -> None:
        variables.values[NAME] = "s3cr3t"
        with pytest.raises(AirflowFailException, match=f"Variable {NAME}: must hold the signing secrets") as refused:
            subscribe()
        assert "s3cr3t" not in str(refused.value)
        assert client.webhook_subscriptions.list() == []

    def test_others_that_write_to_it_all_the_time(
        self, client: LinqClient, variables: Variables, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write, number = variables.set, count()

        def written_over(name: str, value: Any, *more: Any, **how: Any) -> None:
            write(name, value, *more, **how)
            write(name, {**value, "secrets": {f"other{next(number)}": "whsec_YQ=="}}, serialize_json=True)

        monkeypatch.setattr(variables, "set", written_over)
        with pytest.raises(AirflowFailException, match=f"other tasks write to {NAME} all the time"):
            subscribe()
        assert client.webhook_subscriptions.list() == []

    def test_subscriptions_can_be_deleted_without_it(self, client: LinqClient, variables: Variables) -> None:
        subscribe()
        result = subscribe(state="absent", secret_variable=None)
        assert result["change"] == "deleted"
        assert client.webhook_subscriptions.list() == []
        assert subscribe(state="absent", secret_variable=None)["change"] == "absent"


class TestLostResponses:
    """Nothing is left over whose secret nobody has."""

    @pytest.mark.parametrize("duplicates", ["allowed", "refused"])
    @pytest.mark.parametrize("lost", [["POST"], ["POST"] * 2, ["POST"] * 3, ["POST", "DELETE"]])
    def test_of_several_tries(
        self, emulator: Emulator, client: LinqClient, variables: Variables, duplicates: Any, lost: list[str]
    ) -> None:
        emulator.set_switches(duplicate_target_url=duplicates)
        for method in lost:
            lose_response(emulator, method)
            with suppress(LinqError):
                subscribe()
        subscribe()
        (only,) = client.webhook_subscriptions.list()
        assert only.id in variables.ids
        assert subscribe()["change"] == "unchanged"

    def test_one_that_can_be_seen_only_when_another_is_there(self, client: LinqClient, variables: Variables) -> None:
        """The list did not show it to the try that created the second."""
        subscribe()
        late = client.webhook_subscriptions.create(URL, ["message.sent"])
        stored = variables.get(NAME, deserialize_json=True)
        variables.set(NAME, {**stored, "creating_since": "2026-01-01T00:00:00Z"}, serialize_json=True)
        subscribe()
        (only,) = client.webhook_subscriptions.list()
        assert only.id != late.id

    def test_what_somebody_else_has_made_stays_beside_ours(
        self, client: LinqClient, variables: Variables, capfd: pytest.CaptureFixture[str]
    ) -> None:
        ours = subscribe()["subscription_id"]
        theirs = client.webhook_subscriptions.create(URL, ["message.sent"])
        client.webhook_subscriptions.update(ours, is_active=False)
        done = subscribe()
        assert (done["subscription_id"], done["change"]) == (ours, "updated")
        assert f"Subscription {theirs.id} for this URL is left as it is" in capfd.readouterr().out
        assert {one.id for one in client.webhook_subscriptions.list()} == {ours, theirs.id}
        subscribe(replace_unknown=True)
        assert [one.id for one in client.webhook_subscriptions.list()] == [ours]

    def test_a_refusal_leaves_the_variable_as_it_was(
        self, emulator: Emulator, client: LinqClient, variables: Variables
    ) -> None:
        with pytest.raises(AirflowFailException):
            subscribe("a", subscribed_events=["no.such.event"])
        theirs = client.webhook_subscriptions.create("http://127.0.0.1:9/b", ["message.sent"])
        with pytest.raises(AirflowFailException, match=theirs.id):
            subscribe("b")

    def test_a_secret_that_can_not_be_stored_ends_its_subscription(
        self, client: LinqClient, variables: Variables
    ) -> None:
        def fail() -> None:
            raise ConnectionResetError

        variables.before_set = [fail, lambda: None]
        with pytest.raises(ConnectionResetError):
            subscribe()
        assert client.webhook_subscriptions.list() == []
        assert subscribe()["change"] == "created"
