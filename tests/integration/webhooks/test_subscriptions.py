"""One subscription for each URL and its secret kept, whatever gets lost on the way; against the emulator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from linq_client import InvalidRequestError, LinqClient, LinqError, RetrySettings, SettingsError
from linq_emulator.testing import EmulatorProcess
from linq_webhooks.subscriptions import (
    SigningSecrets,
    UnknownSecretError,
    WantedSubscription,
    delete_subscriptions,
    ensure_subscription,
)

URL = "http://127.0.0.1:9/linq"
PINNED = f"{URL}?version=2026-02-03"
SUBSCRIPTIONS = "/webhook-subscriptions$"


class MemoryStore:
    """A store that keeps what JSON can say; it can be out of order."""

    def __init__(self) -> None:
        self.stored: Any = None
        self.is_broken = False

    def load(self) -> SigningSecrets:
        return SigningSecrets.from_json("store", self.stored)

    def save(self, secrets: SigningSecrets) -> None:
        if self.is_broken:
            raise OSError("disk is full")
        self.stored = json.loads(json.dumps(secrets.to_json()))


@pytest.fixture(scope="module")
def _emulator() -> Iterator[EmulatorProcess]:
    with EmulatorProcess() as started:
        yield started


@pytest.fixture
def emulator(_emulator: EmulatorProcess) -> EmulatorProcess:
    _emulator.control("POST", "reset")
    return _emulator


@pytest.fixture
def client(emulator: EmulatorProcess) -> Iterator[LinqClient]:
    quick = RetrySettings(first_wait=0.01, longest_wait=0.01)
    with LinqClient(emulator.api_key, base_url=emulator.base_url, max_retries=1, retry=quick) as client:
        yield client


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def secret_of(emulator: EmulatorProcess, client: LinqClient, store: MemoryStore) -> str:
    """The one secret that is stored, of the one subscription that there is."""
    (only,) = client.webhook_subscriptions.list()
    assert list(store.stored["secrets"])[-1] == only.id
    assert store.stored["creating_since"] is None
    return str(store.stored["secrets"][only.id])


def fault(emulator: EmulatorProcess, **fields: Any) -> None:
    emulator.control("POST", "faults", {"path": SUBSCRIPTIONS, "method": "POST", "count": 1, **fields})


def test_it_is_created_once_and_then_left_alone(
    emulator: EmulatorProcess, client: LinqClient, store: MemoryStore
) -> None:
    first = ensure_subscription(client, WantedSubscription(URL), store)
    assert (first.change, first.subscription.target_url, first.others) == ("created", PINNED, ())
    assert first.subscription.signing_secret is None
    assert secret_of(emulator, client, store).startswith("whsec_")
    for url in (URL, PINNED, "HTTP://127.0.0.1:9/linq"):
        again = ensure_subscription(client, WantedSubscription(url, phone_numbers=[]), store)
        assert again.subscription.id == first.subscription.id
    assert again.change in ("unchanged", "updated")


def test_what_differs_is_changed_and_nothing_else(
    emulator: EmulatorProcess, client: LinqClient, store: MemoryStore
) -> None:
    created = client.webhook_subscriptions.create(URL, ["message.sent"], routing_key_header="X-Route")
    assert created.signing_secret is not None
    store.save(SigningSecrets({created.id: created.signing_secret}))
    client.webhook_subscriptions.update(created.id, is_active=False)
    wanted = WantedSubscription(URL, ["message.received", "message.sent"], [emulator.lines[0]])

    done = ensure_subscription(client, wanted, store)

    assert done.change == "updated"
    present = client.webhook_subscriptions.get(created.id)
    assert (present.target_url, present.is_active, present.phone_numbers) == (PINNED, True, [emulator.lines[0]])
    assert set(present.subscribed_events) == {"message.received", "message.sent"}
    assert present.routing_key_header == "X-Route"
    assert ensure_subscription(client, wanted, store).change == "unchanged"
    all_lines = ensure_subscription(client, WantedSubscription(URL, ["message.sent"]), store).subscription
    assert (all_lines.phone_numbers, all_lines.subscribed_events) == (None, ["message.sent"])


@pytest.mark.parametrize("duplicates", ["refused", "allowed"])
@pytest.mark.parametrize(
    "lost", [{"kind": "reset", "when": "after"}, {"kind": "status", "status": 500, "when": "after"}]
)
def test_a_lost_response_leaves_one_subscription_whose_secret_is_known(
    emulator: EmulatorProcess, client: LinqClient, store: MemoryStore, duplicates: str, lost: dict[str, Any]
) -> None:
    emulator.control("PATCH", "switches", {"duplicate_target_url": duplicates})
    fault(emulator, **lost)
    with pytest.raises(LinqError):
        ensure_subscription(client, WantedSubscription(URL), store)
    assert len(client.webhook_subscriptions.list()) == 1, "the fault came after"

    done = ensure_subscription(client, WantedSubscription(URL), store)

    assert done.change == "replaced"
    assert secret_of(emulator, client, store)


def test_a_secret_that_cannot_be_stored_is_no_second_subscription(
    emulator: EmulatorProcess, client: LinqClient, store: MemoryStore
) -> None:
    store.is_broken = True
    with pytest.raises(OSError, match="disk is full"):
        ensure_subscription(client, WantedSubscription(URL), store)
    assert client.webhook_subscriptions.list() == [], "nothing is created whose secret would be lost"
    store.is_broken = False
    assert ensure_subscription(client, WantedSubscription(URL), store).change == "created"
    assert secret_of(emulator, client, store)


def test_somebody_elses_subscription_is_replaced_only_if_asked_for(
    emulator: EmulatorProcess, client: LinqClient, store: MemoryStore
) -> None:
    theirs = client.webhook_subscriptions.create(URL, ["message.sent"])
    with pytest.raises(UnknownSecretError, match=theirs.id) as refused:
        ensure_subscription(client, WantedSubscription(URL), store)
    assert refused.value.permanent
    assert store.stored is None
    done = ensure_subscription(client, WantedSubscription(URL), store, replace_unknown=True)
    assert done.change == "replaced"
    assert done.subscription.id != theirs.id
    assert secret_of(emulator, client, store)


def test_a_refusal_leaves_no_claim_on_what_others_create_later(
    emulator: EmulatorProcess, client: LinqClient, store: MemoryStore
) -> None:
    with pytest.raises(InvalidRequestError):
        ensure_subscription(client, WantedSubscription(URL, ["no.such.event"]), store)
    client.webhook_subscriptions.create(URL, ["message.sent"])
    with pytest.raises(UnknownSecretError):
        ensure_subscription(client, WantedSubscription(URL), store)


def test_others_for_the_same_url_are_named_and_deleted_together(
    emulator: EmulatorProcess, client: LinqClient, store: MemoryStore
) -> None:
    emulator.control("PATCH", "switches", {"duplicate_target_url": "allowed"})
    ours = ensure_subscription(client, WantedSubscription(URL), store).subscription
    other = client.webhook_subscriptions.create(f"{URL}?version=2025-01-01", ["message.sent"])
    elsewhere = client.webhook_subscriptions.create(f"{URL}/elsewhere", ["message.sent"])
    again = ensure_subscription(client, WantedSubscription(URL), store)
    assert (again.subscription.id, list(again.others)) == (ours.id, [other.id])
    assert set(delete_subscriptions(client, URL)) == {ours.id, other.id}
    assert [one.id for one in client.webhook_subscriptions.list()] == [elsewhere.id]
    assert delete_subscriptions(client, URL) == []


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"target_url": "ftp://example.com"}, "target_url"),
        ({"target_url": ""}, "target_url"),
        ({"target_url": None}, "target_url"),
        ({"target_url": "https://example.com/a b"}, "target_url"),
        ({"target_url": "https://example.com:x/"}, "target_url"),
        ({"target_url": "https://me:pass@example.com/"}, "target_url"),
        ({"events": []}, "events"),
        ({"events": "message.sent"}, "events"),
        ({"events": ["message.sent", ""]}, "events"),
        ({"phone_numbers": "+12025550101"}, "phone_numbers"),
        ({"phone_numbers": ["me"]}, "phone_numbers"),
    ],
)
def test_what_is_wrong_is_refused_by_name(wanted: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"^{field}: must") as refused:
        WantedSubscription(**{"target_url": URL, **wanted})
    assert "pass@" not in str(refused.value)


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
    with pytest.raises(SettingsError, match="^store: ") as refused:
        SigningSecrets.from_json("store", stored)
    assert "c2VjcmV0" not in str(refused.value)
    assert "s3cr3t" not in str(refused.value)


def test_fields_of_a_later_version_are_passed_over() -> None:
    stored = {"format": 1, "secrets": {"a": "whsec_c2VjcmV0"}, "creating_since": None, "later": 1}
    assert SigningSecrets.from_json("store", stored).secrets == {"a": "whsec_c2VjcmV0"}
    assert "c2VjcmV0" not in repr(SigningSecrets.from_json("store", stored))
