"""The receiver in Airflow's API server: off unless it is turned on, and what it then lets in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from airflow import plugins_manager
from airflow.models.variable import Variable
from fastapi import FastAPI

from airflow_provider_linq._internal import mounted_receiver
from airflow_provider_linq._internal.secret_variable import StoredSecrets
from airflow_provider_linq.plugins import webhook_receiver
from linq_webhooks.archive import open_archive
from tests.support.asgi_server import running_app
from tests.support.webhook_receiver import SECRET, body_of, deliver

URL = "/linq-webhooks/deliveries"
OTHER = "whsec_b3RoZXI="

pytestmark = [
    pytest.mark.filterwarnings("ignore:Using `httpx` with `starlette.testclient` is deprecated"),
    pytest.mark.usefixtures("patient_receivers"),
]


def keep(**secrets: str) -> None:
    Variable.set("linq_webhook_secret", StoredSecrets(secrets).to_json(), serialize_json=True)


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    url = str(tmp_path / "archive")
    monkeypatch.setenv("AIRFLOW__LINQ__WEBHOOK_RECEIVER", "True")
    monkeypatch.setenv("AIRFLOW__LINQ__WEBHOOK_ARCHIVE", url)
    monkeypatch.setattr(mounted_receiver, "_READ_EVERY", 0.0)
    return url


@pytest.fixture
def post(archive: str, airflow_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Post to the server as Airflow mounts its plugins, and return the status."""
    from airflow.api_fastapi.app import init_plugins  # here, where its warnings are passed over

    Variable.delete("linq_webhook_secret")
    monkeypatch.setattr(plugins_manager, "get_fastapi_plugins", lambda: (webhook_receiver._apps(), []))
    app = FastAPI()
    init_plugins(app)
    with running_app(app) as origin:

        def post(number: int, url: str = URL, **options: Any) -> int:
            return deliver(origin + url, body_of(number), **options)

        yield post


def stored(url: str) -> list[str]:
    with closing(open_archive(url)) as archive:
        return [event.event_id for event, _ in archive.read()]


def test_it_is_off_unless_it_is_turned_on() -> None:
    assert webhook_receiver.LinqWebhookReceiverPlugin.fastapi_apps == []


def test_what_is_signed_is_stored_and_nothing_else(archive: str, post: Callable[..., int]) -> None:
    keep(s1=SECRET)
    assert post(1) == 200
    assert post(2, secret=OTHER) == 401
    assert post(3, at=0) == 401
    assert stored(archive) == ["e1"]


def test_nothing_but_deliveries_is_served(archive: str, post: Callable[..., int]) -> None:
    keep(s1=SECRET)
    for path in ("metrics", "healthz", "readyz", "", "deliveries/more"):
        assert post(1, f"/linq-webhooks/{path}") == 404
    assert stored(archive) == []


def test_a_new_secret_is_taken_up(archive: str, post: Callable[..., int]) -> None:
    keep(s1=SECRET)
    assert post(1) == 200
    keep(s1=SECRET, s2=OTHER)
    assert post(2, secret=OTHER, subscription="s2") == 200
    assert post(3, secret=SECRET, subscription="s2") == 401
    assert stored(archive) == ["e1", "e2"]


def test_the_secrets_of_several_urls_are_in_a_variable_each(
    archive: str, post: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__LINQ__WEBHOOK_SECRET_VARIABLE", "linq_webhook_secret, linq_other_secret")
    keep(s1=SECRET)
    Variable.set("linq_other_secret", StoredSecrets({"s2": OTHER}).to_json(), serialize_json=True)
    assert post(1) == 200
    assert post(2, secret=OTHER, subscription="s2") == 200
    assert stored(archive) == ["e1", "e2"]


@pytest.mark.parametrize("subscription", [None, "s1"])
def test_a_secret_that_has_changed_is_taken_up_without_a_new_id(
    archive: str, post: Callable[..., int], subscription: str | None
) -> None:
    keep(s1=SECRET)
    assert post(1) == 200
    keep(s1=OTHER)
    assert post(2, secret=OTHER, subscription=subscription) == 200
    assert post(3, secret=SECRET, subscription=subscription) == 401
    assert stored(archive) == ["e1", "e2"]


def test_a_secret_that_was_taken_out_counts_no_longer(
    archive: str, post: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mounted_receiver, "_TRUSTED_FOR", 0.0)
    keep(s1=SECRET, s2=OTHER)
    assert post(1) == 200
    keep(s2=OTHER)
    assert post(2, secret=SECRET, subscription=None) == 401
    Variable.delete("linq_webhook_secret")
    assert post(3, secret=OTHER, subscription="s2") == 503


def test_an_unknown_subscription_comes_again_rather_than_being_lost(
    archive: str, post: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mounted_receiver, "_READ_EVERY", 3600.0)
    keep(s1=SECRET)
    assert post(1, secret=OTHER, subscription="s2") == 503
    keep(s1=SECRET, s2=OTHER)
    monkeypatch.setattr(mounted_receiver, "_READ_EVERY", 0.0)
    assert post(1, secret=OTHER, subscription="s2") == 200


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "no signing secret is given"),
        ("no JSON", "Variable linq_webhook_secret: must be JSON"),
        (json.dumps({"format": 2}), "Variable linq_webhook_secret: this version reads formats 1 to 1, it has format 2"),
        (json.dumps(["whsec_YQ=="]), "Variable linq_webhook_secret: must hold the signing secrets"),
        (json.dumps(StoredSecrets().to_json()), "no signing secret is given"),
    ],
)
def test_without_secrets_deliveries_have_to_come_again(
    archive: str, post: Callable[..., int], value: str | None, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    if value is not None:
        Variable.set("linq_webhook_secret", value)
    assert post(1) == 503
    keep(s1=SECRET)
    assert post(1) == 200
    assert "can't start" in caplog.text
    assert why in caplog.text
    assert "whsec_" not in caplog.text
    assert stored(archive) == ["e1"]


def test_a_signature_that_fits_none_of_secrets_just_read_may_fit_later(
    archive: str, post: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The platform does not repeat what got 401, and a Variable that was read a moment ago is not read again."""
    keep(s1=SECRET)
    assert post(1) == 200
    monkeypatch.setattr(mounted_receiver, "_READ_EVERY", 1_000.0)
    keep(s1=OTHER)
    assert post(2, secret=OTHER) == 503
    monkeypatch.setattr(mounted_receiver, "_READ_EVERY", 0.0)
    assert post(2, secret=OTHER) == 200
    assert post(3, secret=SECRET) == 401
    assert stored(archive) == ["e1", "e2"]
