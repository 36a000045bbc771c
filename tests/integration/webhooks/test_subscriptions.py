"""What becomes of a subscription that is there, and of one whose secret can't be kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from linq_client import ConflictError, LinqClient, SettingsError
from linq_client.resources.webhook_subscriptions import WebhookSubscriptions
from linq_emulator.testing import EmulatorProcess
from linq_webhooks.subscriptions import Outcome, end_subscriptions, ensure_subscription, problems_of

URL = "https://example.com/webhooks/linq"
EVENTS = ["message.received"]
A, B = "+12025550101", "+12025550102"


@pytest.fixture
def client(emulator: EmulatorProcess) -> LinqClient:
    return LinqClient(emulator.api_key, base_url=emulator.base_url)


@pytest.fixture
def ensure(client: LinqClient) -> Callable[..., Outcome]:
    """Make sure of a subscription, and forget its secret."""

    def ensure(events: list[str], **more: Any) -> Outcome:
        return ensure_subscription(client, URL, events, **{"keep_secret": lambda *_: None, **more})

    return ensure


@pytest.mark.parametrize(
    ("present", "wanted", "after"),
    [
        (None, [A], None),
        (None, None, None),
        ([B], [A], [B, A]),
        ([A, B], [A], [A, B]),
        ([A], None, None),
    ],
)
@pytest.mark.parametrize("how", ["updated", "created"])
def test_lines_that_it_covers_stay_covered(
    client: LinqClient,
    ensure: Callable[..., Outcome],
    how: str,
    present: list[str] | None,
    wanted: list[str] | None,
    after: list[str] | None,
) -> None:
    """Whatever else it lacks: a line that is left out without a word has no deliveries any more."""
    client.webhook_subscriptions.create(f"{URL}?version=2026-02-03", EVENTS, phone_numbers=present)
    more = ["message.received", "message.sent"]
    done = ensure(more, phone_numbers=wanted, renew_secret=how == "created")
    assert done.action == how
    (made,) = client.webhook_subscriptions.list()
    assert (made.phone_numbers or None) == after
    assert made.subscribed_events == more
    assert problems_of(made, more, wanted) == []
    assert ensure(more, phone_numbers=wanted).action == "unchanged"


def test_a_new_one_covers_the_lines_that_are_wanted(client: LinqClient, ensure: Callable[..., Outcome]) -> None:
    assert ensure(EVENTS, phone_numbers=[A]).subscription.phone_numbers == [A]
    assert ensure(EVENTS, phone_numbers=[A, B]).action == "updated"
    assert ensure(EVENTS, phone_numbers=[A]).action == "unchanged"


def test_one_of_another_version_of_the_payloads_is_pinned(client: LinqClient, ensure: Callable[..., Outcome]) -> None:
    made = client.webhook_subscriptions.create(f"{URL}?version=2025-01-01", EVENTS)
    assert problems_of(made, EVENTS) == ["its URL does not ask for version=2026-02-03"]
    assert ensure(EVENTS).action == "updated"
    assert client.webhook_subscriptions.get(made.id).target_url == f"{URL}?version=2026-02-03"


def test_a_refusal_that_no_subscription_of_the_url_explains(
    client: LinqClient, ensure: Callable[..., Outcome], emulator: EmulatorProcess
) -> None:
    fault = {"kind": "status", "path": "/webhook-subscriptions$", "method": "POST", "status": 409, "code": 2015}
    emulator.control("POST", "faults", fault)
    with pytest.raises(ConflictError):
        ensure(EVENTS)


class TestNoSecret:
    """Nobody could tell its deliveries genuine."""

    def test_one_whose_secret_the_api_does_not_tell_is_ended(
        self, client: LinqClient, ensure: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        create = WebhookSubscriptions.create

        def told_nothing(self: WebhookSubscriptions, *arguments: Any, **options: Any) -> Any:
            return create(self, *arguments, **options).model_copy(update={"signing_secret": None})

        monkeypatch.setattr(WebhookSubscriptions, "create", told_nothing)
        with pytest.raises(SettingsError, match="the API told no signing secret"):
            ensure(EVENTS)
        assert client.webhook_subscriptions.list() == []

    @pytest.mark.parametrize("can_be_ended", [True, False])
    def test_one_whose_secret_is_not_stored_is_ended(
        self,
        client: LinqClient,
        ensure: Callable[..., Outcome],
        emulator: EmulatorProcess,
        caplog: pytest.LogCaptureFixture,
        can_be_ended: bool,
    ) -> None:
        def full(*_: str) -> None:
            raise OSError("No space left on device")

        if not can_be_ended:
            fault = {
                "kind": "status",
                "path": "/webhook-subscriptions/",
                "method": "DELETE",
                "status": 403,
                "code": 2005,
            }
            emulator.control("POST", "faults", fault)
        with pytest.raises(OSError, match="No space left"):
            ensure(EVENTS, keep_secret=full)
        left = client.webhook_subscriptions.list()
        assert len(left) == (not can_be_ended)
        assert [f"subscription {one.id}: its secret could not be stored, nor could it be ended" for one in left] == [
            record.message.rpartition(": DELETE")[0] for record in caplog.records if record.levelname == "ERROR"
        ]
        assert "whsec_" not in caplog.text

    def test_one_that_is_gone_already_is_passed_over(self, client: LinqClient, ensure: Callable[..., Outcome]) -> None:
        made = ensure(EVENTS).subscription
        end_subscriptions(client, [made, made])
        assert client.webhook_subscriptions.list() == []
