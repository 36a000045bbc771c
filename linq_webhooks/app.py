"""The receiver: an ASGI application that stores what the platform delivers.

    app = create_app(open_archive("s3://bucket/linq"), SigningSecrets({"": ["whsec_..."]}))

It can be mounted into another application, whose lifespan then has to run this one's (`app.router.lifespan_context`).
A delivery is answered with 2xx when it is durable, and only then. Senders learn nothing but a status: 401 if it is not
genuine, 404 if its path is another, 413 if it is too large, 400 if it is not JSON, 503 if it is too slow or can't be
stored at present, and is to come again. Why stands in the log, without bodies, and in the metrics.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from linq_client.errors import LinqError
from linq_client.webhooks import HeaderSet, SignatureError, SigningSecrets, identify, verify
from linq_webhooks._intake import Intake, RefusedError, discard
from linq_webhooks._metrics import Metrics
from linq_webhooks._spool import Spool
from linq_webhooks._storage import Storage
from linq_webhooks.archive import Archive, ArchiveError, StoredEvent

if TYPE_CHECKING:
    from linq_webhooks._encryption import BodyCipher

__all__ = ["DEFAULT_MAX_BODY_BYTES", "DEFAULT_PATH", "create_app"]

log = logging.getLogger(__name__)

DEFAULT_PATH: Final = "/webhooks/linq"
DEFAULT_MAX_BODY_BYTES: Final = 5_000_000

#: Headers that are kept. Signatures are not: nobody needs to be able to show them again.
_KEPT_HEADERS: Final = frozenset(
    {
        "content-type",
        "linq-chat-id",
        "user-agent",
        "webhook-id",
        "webhook-timestamp",
        "x-trace-id",
        "x-webhook-event",
        "x-webhook-subscription-id",
        "x-webhook-timestamp",
    }
)

_SIGNATURES: Final = frozenset({"webhook-signature", "x-webhook-signature"})

_RETRY_AFTER: Final = (b"retry-after", b"5")

#: Seconds between two lines in the log about the same reason: a flood of requests is not to become one of lines.
_LOG_SECONDS: Final = 10


def create_app(
    archive: Archive,
    secrets: SigningSecrets,
    *,
    path: str = DEFAULT_PATH,
    spool: Path | None = None,
    cipher: BodyCipher | None = None,
    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES,
    allow_deprecated_headers: bool = True,
    renew_secrets: Callable[[], SigningSecrets | None] | None = None,
) -> Starlette:
    """Return the receiver as an ASGI application. It serves `path`, `/healthz`, `/readyz` and `/metrics`.

    Args:
        archive: where events go. It is used from one thread, and closed when the application ends.
        secrets: the signing secrets of the subscriptions.
        path: of deliveries.
        spool: a folder for events while the archive is down, which no other receiver uses; None for none.
        cipher: encrypts what is in the spool.
        max_body_bytes: larger bodies are refused.
        allow_deprecated_headers: whether a delivery may be verified by `X-Webhook-*` where the others are missing.
        renew_secrets: is asked when a signature does not fit, and returns the secrets if they have changed, else None.
            It has to be quick: no other request is answered meanwhile.

    Raises:
        SettingsError: the spool can't be used.
    """
    metrics = Metrics()
    receiver = _Receiver(secrets, renew_secrets, metrics, Intake(max_body_bytes), allow_deprecated_headers)
    disk = Spool(spool, cipher) if spool is not None else None

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        receiver.storage = Storage(archive, disk, metrics)
        try:
            yield
        finally:
            await receiver.storage.close()

    return _App(
        receiver,
        path,
        routes=[
            Route(path, receiver, methods=["POST"]),
            Route(f"{path.rstrip('/')}/", receiver, methods=["POST"]),
            Route("/healthz", _is_alive),
            Route("/readyz", receiver.is_ready),
            Route("/metrics", receiver.metrics_page),
        ],
        lifespan=lifespan,
    )


class _App(Starlette):
    """The application. Deliveries take a short cut past its middleware, which would take a third of their time."""

    def __init__(self, receiver: _Receiver, path: str, **options: Any) -> None:
        super().__init__(**options)
        self._receiver = receiver
        self._path = path
        # A redirect is a refusal for the platform, which repeats neither that nor a 404.
        self.router.redirect_slashes = False
        self.router.default = self._not_found

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == self._path and scope["method"] == "POST":
            await self._receiver(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    async def _not_found(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            self._receiver.count_wrong_path()
        await self.router.not_found(scope, receive, send)


async def _is_alive(_request: Request) -> Response:
    return Response("ok\n", media_type="text/plain")


class _Receiver:
    """The endpoints. Deliveries are an ASGI application, since the body must not be read before its size is known."""

    storage: Storage

    def __init__(
        self,
        secrets: SigningSecrets,
        renew_secrets: Callable[[], SigningSecrets | None] | None,
        metrics: Metrics,
        intake: Intake,
        allow_deprecated: bool,
    ) -> None:
        self._secrets = secrets
        self._renew_secrets = renew_secrets
        self._metrics = metrics
        self._intake = intake
        self._allow_deprecated = allow_deprecated
        self._last_logged: dict[str, float] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a delivery."""
        started = time.perf_counter()
        self._metrics.received.inc()
        try:
            event = await self._accept(scope, receive)
            await self.storage.store(event)
        except RefusedError as error:
            self._count_refused(error.reason)
            await _answer(send, error.status, unread=receive if error.status == 413 else None)
        except ArchiveError:  # which the storage has logged
            self._metrics.refused.labels("not_stored").inc()
            await _answer(send, 503)
        else:
            self._metrics.seconds.observe(time.perf_counter() - started)
            await _answer(send, 200)

    def count_wrong_path(self) -> None:
        """Count a delivery to a path that is not served: the URL of the subscription or a proxy is wrong."""
        self._metrics.received.inc()
        self._count_refused("wrong_path")

    async def is_ready(self, _request: Request) -> Response:
        """Say whether events can be stored, by writing something to where they go."""
        places = await self.storage.check()
        return JSONResponse(
            {place: "ok" if works else "failed" for place, works in places.items()},
            status_code=200 if any(places.values()) else 503,
        )

    async def metrics_page(self, _request: Request) -> Response:
        """Show the metrics."""
        return Response(generate_latest(self._metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def _accept(self, scope: Scope, receive: Receive) -> StoredEvent:
        headers = _headers_of(scope)
        body = await self._intake.read(receive, headers.get("content-length"))
        received_at = datetime.now(timezone.utc)
        used = self._verify(body, headers)
        if used is HeaderSet.DEPRECATED:
            self._metrics.deprecated.inc()
            self._log("verified by X-Webhook-* headers alone: something on the way drops the headers webhook-*")
            # One that was left was not signed.
            headers.pop("webhook-id", None)
        try:
            identity = identify(body, headers)
        except LinqError:
            raise RefusedError(400, "not_json") from None
        kept = {name: value for name, value in headers.items() if name in _KEPT_HEADERS}
        return StoredEvent(*identity, received_at, kept, body)

    def _verify(self, body: bytes, headers: dict[str, str]) -> HeaderSet:
        while True:
            try:
                return verify(body, headers, self._secrets.of(headers), allow_deprecated=self._allow_deprecated)
            except SignatureError as error:
                # A secret may be newer than this process: the platform would not deliver again after a 401.
                renewed = self._renew_secrets() if self._renew_secrets is not None else None
                if renewed is None:
                    raise RefusedError(401, error.reason) from None
                self._secrets = renewed

    def _count_refused(self, reason: str) -> None:
        self._metrics.refused.labels(reason).inc()
        self._log(f"refused: {reason}")

    def _log(self, what: str) -> None:
        now = time.monotonic()
        if now - self._last_logged.get(what, -_LOG_SECONDS) >= _LOG_SECONDS:
            self._last_logged[what] = now
            log.warning("webhook delivery %s (more of the same in the next %d s are only counted)", what, _LOG_SECONDS)


def _headers_of(scope: Scope) -> dict[str, str]:
    """Return the headers by their names in lower case. Of a signature that comes twice, each counts."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        # Spaces around a value are no part of it, and the parser leaves those behind it.
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1").strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in _SIGNATURES and name in headers else value
    return headers


async def _answer(send: Send, status: int, *, unread: Receive | None = None) -> None:
    """Answer; `unread` has the rest of a body that the client may still be writing."""
    headers = [(b"content-length", b"0")]
    if status == 503:
        headers.append(_RETRY_AFTER)
    if status != 200:
        # Its body was perhaps not read.
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if unread is not None:
        await discard(unread)
    await send({"type": "http.response.body", "body": b""})
