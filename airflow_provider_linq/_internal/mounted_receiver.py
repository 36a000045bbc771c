"""The receiver of webhooks as a part of Airflow's API server."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from airflow.models.variable import Variable
from starlette.responses import Response

from airflow_provider_linq._internal.secret_variable import StoredSecrets
from airflow_provider_linq._internal.version_compat import conf
from linq_client import LinqError, SettingsError
from linq_client.webhooks import SigningSecrets, subscription_of
from linq_webhooks.archive import ArchiveError, open_archive

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

log = logging.getLogger(__name__)

#: Below the prefix of the plugin; nothing else is served.
PATH: Final = "/deliveries"

#: How long what was read of the Variable counts, in seconds, and how long before a delivery is refused by it.
_TRUSTED_FOR: Final = 30.0
_READ_EVERY: Final = 1.0


class VariableSecrets(SigningSecrets):
    """
    The signing secrets in Variables, read again as time passes and when a delivery does not fit.

    :param names: of the Variables.
    :raises SettingsError: they hold none.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._read()

    def of(self, headers: Mapping[str, str]) -> tuple[str, ...]:
        """
        Return the secrets that a delivery can be signed with, perhaps none.

        :raises ArchiveError: it may be of a new subscription, and comes again, as what can't be stored does.
        """
        with self._lock:
            if self._age() >= _TRUSTED_FOR:
                self._read_again()  # a secret that was taken out counts no longer
            found = super().of(headers)
            if found or subscription_of(headers) is None:
                return found
            if self._age() < _READ_EVERY:
                raise ArchiveError("webhook receiver: the subscription is not known yet")
            self._read_again()
            return super().of(headers)

    def renewed(self) -> VariableSecrets | None:
        """
        Return the secrets if they have changed, for a delivery whose signature does not fit; else None.

        :raises ArchiveError: they may have changed, and it comes again.
        """
        with self._lock:
            if self._age() < _READ_EVERY:
                raise ArchiveError("webhook receiver: the secret is not known yet")
            before = self._by_subscription
            self._read_again()
            return None if self._by_subscription == before else self

    def _age(self) -> float:
        return time.monotonic() - self._read_at

    def _read_again(self) -> None:
        try:
            self._read()
        except SettingsError as error:
            log.error("The webhook receiver has no secrets, and deliveries have to come again: %s", error)
            raise ArchiveError("webhook receiver: there are no secrets at present") from None

    def _read(self) -> None:
        self._read_at = time.monotonic()
        secrets: dict[str, list[str]] = {}
        for name in self._names:
            found = Variable.get(name, default_var=None)
            try:
                decoded = None if found is None else json.loads(found)
            except ValueError:  # whose words would quote it
                raise SettingsError(f"Variable {name}: must be JSON, got something else") from None
            for id_, secret in StoredSecrets.from_json(name, decoded).secrets.items():
                secrets.setdefault(id_, []).append(secret)
        super().__init__(secrets)


class MountedReceiver:
    """An ASGI application that takes deliveries at `PATH`; archive and secrets are opened with the first of them."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._receiver: ASGIApp | None = None
        self._open = AsyncExitStack()  # for as long as the server lives: what was acknowledged is durable

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = str(scope.get("path", "")).removeprefix(str(scope.get("root_path", "")))
        app: ASGIApp = Response(status_code=404)
        if scope["type"] == "http" and scope["method"] == "POST" and path == PATH:
            try:
                app = await self._started()
            except (LinqError, ImportError) as error:
                log.error("The webhook receiver can't start, and deliveries have to come again: %s", error)
                app = Response(status_code=503)
        await app(scope, receive, send)

    async def _started(self) -> ASGIApp:
        async with self._lock:
            if self._receiver is None:
                from linq_webhooks.app import create_app

                url = conf.get("linq", "webhook_archive", fallback="")
                key = conf.get("linq", "webhook_archive_secret", fallback="")
                names = conf.get("linq", "webhook_secret_variable", fallback="linq_webhook_secret").split(",")
                archive = open_archive(url, encryption_key=key.encode() if key else None)
                secrets = await asyncio.to_thread(VariableSecrets, [name.strip() for name in names])
                app = create_app(archive, secrets, path=PATH, renew_secrets=secrets.renewed)
                await self._open.enter_async_context(app.router.lifespan_context(app))
                self._receiver = app
                log.info("The webhook receiver takes deliveries")
            return self._receiver
