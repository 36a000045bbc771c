"""`LinqClient`: the session, the key, the one path that every request takes, retries and pagination.

Endpoints are methods of the resources (`client.chats.create(...)`, see `resources`); all of them end in
`LinqClient.request`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import IO, Any, Final, TypeVar
from urllib.parse import urlsplit

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    wait_random_exponential,
)
from typing_extensions import Self

from linq_client import resources
from linq_client._retry import CallEffect
from linq_client._verdict import error_from_response
from linq_client.errors import (
    APIConnectionError,
    AuthenticationError,
    ChatNotFoundError,
    Effect,
    LinqError,
    NotFoundError,
    RateLimitedError,
    RequestKind,
    SettingsError,
)
from linq_client.listing import Reply
from linq_client.pacing import Pace
from linq_client.transport import (
    Credentials,
    NoAuth,
    content,
    decoded,
    new_session,
    save,
    send,
    server_date,
    settle_environment,
)

DEFAULT_BASE_URL: Final = "https://api.linqapp.com/api/partner"
#: Keys that one request is made with at the most: each was refused, and `renew_key` named another.
_MOST_KEYS: Final = 3

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Traffic:
    """What a client has sent so far: all requests, files included, and how many of them were second tries or later."""

    requests: int = 0
    retries: int = 0


class LinqClient:
    """The Linq Partner API v3.

    Safe to use from several threads; close it, or use it as a context manager. When the API limits reads (429), all
    threads slow down together and recover, see `linq_client.pacing`.

    Args:
        api_key: from the environment variable `LINQ_API_KEY` if None.
        base_url: ends in `/api/partner`, without `/v3`; from `LINQ_BASE_URL` if None, else the vendor's.
        timeout: seconds to wait for a connection, and for each read of an answer.
        max_retries: tries after the first one. Only calls that may safely be repeated are retried: reads, calls that
            set a state, and sends (which always carry an idempotency key).
        retry_budget: seconds after which no other try of a call begins; a `Retry-After` that does not fit ends it.
        pool_size: connections kept open, and so the number of threads that can be served at once.
        renew_key: asked for the key that is valid now when the API refuses the present one (401), by one thread at a
            time. Another key is taken from then on, and the request that was refused is made again with it, whatever
            it does: the API did nothing. After the same key the `AuthenticationError` is permanent; after an error of
            `renew_key` itself it is raised too, and not permanent.

    Raises:
        SettingsError: no key, a base URL that is none, or a number out of range.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        timeout: tuple[float, float] = (5.0, 60.0),
        max_retries: int = 4,
        retry_budget: float = 120.0,
        pool_size: int = 10,
        renew_key: Callable[[], str] | None = None,
    ) -> None:
        # An empty argument is a mistake of the caller's, and must not turn into another account or another server.
        key = os.environ.get("LINQ_API_KEY", "") if api_key is None else api_key
        self._credentials = Credentials(_checked_key(key), _renewal(renew_key))
        self.base_url = _checked_base_url(
            os.environ.get("LINQ_BASE_URL", DEFAULT_BASE_URL) if base_url is None else base_url
        )
        for name, value, least in (
            ("timeout", timeout[0], 0.001),
            ("timeout", timeout[1], 0.001),
            ("max_retries", max_retries, 0),
            ("retry_budget", retry_budget, 0),
            ("pool_size", pool_size, 1),
        ):
            if not isinstance(value, int | float) or not value >= least:
                raise SettingsError(f"{name}: must be a number of at least {least}, got {value!r}")
        self._timeout = timeout
        self._max_retries = max_retries
        self._retry_budget = retry_budget
        self._api = new_session(pool_size, NoAuth())
        settle_environment(self._api, self.base_url)
        # Files lie on other hosts, whose URLs carry their own signature: this session has no key to give away.
        self._files = new_session(pool_size, NoAuth())
        self._server_time: datetime | None = None
        self._pace = Pace(pool_size, retry_budget)
        self._count_lock = Lock()
        self._traffic = Traffic()

        self.chats = resources.Chats(self)
        self.participants = resources.Participants(self)
        self.typing = resources.Typing(self)
        self.messages = resources.Messages(self)
        self.attachments = resources.Attachments(self)
        self.location = resources.LocationSharing(self)
        self.capability = resources.Capabilities(self)
        self.phone_numbers = resources.PhoneNumbers(self)
        self.contact_card = resources.ContactCards(self)
        self.webhook_subscriptions = resources.WebhookSubscriptions(self)
        self.webhook_events = resources.WebhookEvents(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"LinqClient(base_url={self.base_url!r})"

    def close(self) -> None:
        """Close all connections."""
        self._api.close()
        self._files.close()

    @property
    def server_time(self) -> datetime:
        """The API's clock (UTC, whole seconds) at its latest answer to this client; asks if there was none yet."""
        if self._server_time is None:
            self.request("GET", "/v3/phone_numbers")
        assert self._server_time is not None
        return self._server_time

    @property
    def traffic(self) -> Traffic:
        """What this client has sent so far."""
        return self._traffic

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        kind: RequestKind | None = None,
        repeatable: bool | None = None,
        has_text: bool = False,
        list_field: str | None = None,
    ) -> Reply:
        """Send one request to the API, and again while that is safe and may help.

        Args:
            path: from `/v3` on.
            kind: what the request can do; by default a GET reads, and anything else changes something.
            repeatable: whether a second copy of the request does no harm; by default that of a read, a send, PUT and
                DELETE.
            has_text: the request carries message text, so the API's words about it are not quoted in errors.
            list_field: the field of the answer that holds a list (or null, for an empty one). An answer without it is
                no answer: it must not pass for an empty list.

        Raises:
            LinqError: the class says what to do about it, see `linq_client.errors`.
        """
        if kind is None:
            kind = RequestKind.READ if method == "GET" else RequestKind.CHANGE
        if repeatable is None:
            repeatable = kind is not RequestKind.CHANGE or method in ("PUT", "DELETE")
        filled = {name: value for name, value in (params or {}).items() if value is not None}
        effect = CallEffect(kind)

        def once() -> Reply:
            try:
                with effect.one_try():
                    return self._authorized(
                        method,
                        path,
                        kind=kind,
                        has_text=has_text,
                        list_field=list_field,
                        params=filled,
                        json=json,
                        headers=headers,
                    )
            except NotFoundError as error:
                # No DELETE deletes a chat; of anything else, the try before has deleted it, and its response was lost.
                lost = method == "DELETE" and error.effect is Effect.UNKNOWN
                if not lost or not error.verdict or isinstance(error, ChatNotFoundError):
                    raise
                return Reply({}, error.status or 404, error.trace_id, self.server_time)

        def paced() -> Reply:
            with self._pace:
                try:
                    reply = once()
                except RateLimitedError as error:
                    self._pace.limited(error.retry_after)
                    raise
                self._pace.worked()
                return reply

        attempt = paced if method == "GET" else once
        return self._retrying(attempt) if repeatable else attempt()

    def _authorized(self, method: str, path: str, **request: Any) -> Reply:
        """Send one request, and again while its key is refused and there is another one."""
        for _ in range(_MOST_KEYS - 1):
            auth = self._credentials.present
            try:
                return self._exchange(method, path, auth=auth, **request)
            except AuthenticationError as error:
                if not error.verdict or not self._credentials.renew(auth, error):
                    raise
            self._count(retries=1)
        return self._exchange(method, path, auth=self._credentials.present, **request)

    def _exchange(
        self, method: str, path: str, *, kind: RequestKind, has_text: bool, list_field: str | None, **request: Any
    ) -> Reply:
        """Send one request once."""
        label = f"{method} {path}"
        self._count(requests=1)
        # An API does not redirect; whoever does it in its place must not be followed with the key.
        with send(
            self._api,
            method,
            self.base_url + path,
            label=label,
            timeout=self._timeout,
            allow_redirects=False,
            stream=True,
            **request,
        ) as response:
            raw = content(response, label)
        status, trace_id = response.status_code, response.headers.get("X-Trace-ID")
        server_time = server_date(response)
        if server_time is not None:
            self._server_time = server_time
        body = decoded(status, raw)
        if response.is_redirect:
            redirected = SettingsError(
                f"base_url: must be that of the API, got a redirect (HTTP {status})", status=status
            )
            redirected.effect = Effect.UNKNOWN
            raise redirected
        if status >= 300:
            raise error_from_response(status, body, response.headers, request=label, kind=kind, detail=not has_text)
        wrong = None
        if not isinstance(body, dict):
            wrong = "is not a JSON object"
        elif list_field is not None and not isinstance(body.get(list_field, ...), list | None):
            wrong = f"has no list {list_field}"
        elif server_time is None:
            # The worker's clock is no stand-in: what is reckoned with the server's must not depend on who asks. An
            # error above may be a proxy's, and is told all the same.
            wrong = "names no time that can be read (header Date)"
        if wrong or server_time is None or not isinstance(body, dict):
            raise APIConnectionError(f"{label}: the answer {wrong}", status=status, trace_id=trace_id)
        return Reply(body, status, trace_id, server_time, kind)

    def transfer(
        self,
        method: str,
        url: str,
        *,
        data: bytes | IO[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        into: IO[bytes] | None = None,
        max_bytes: int | None = None,
    ) -> int:
        """Move the bytes of a file to or from a signed URL, without the API key.

        Args:
            data: what to upload: bytes, or a seekable file from its present position on.
            into: a seekable file that takes what is downloaded.
            max_bytes: refuse a download that is larger.

        Returns:
            The number of bytes downloaded.

        Raises:
            InvalidRequestError: the file is larger than `max_bytes`.
            LinqError: as `request`.
        """
        label = f"{method} file at {urlsplit(url).hostname}"
        start = {file: file.tell() for file in (data, into) if file is not None and not isinstance(file, bytes)}

        effect = CallEffect(RequestKind.READ)

        def once() -> int:
            self._count(requests=1)
            for file, position in start.items():
                file.seek(position)
            with (
                effect.one_try(),
                send(
                    self._files,
                    method,
                    url,
                    label=label,
                    data=data,
                    headers=headers,
                    timeout=self._timeout,
                    stream=True,
                    # A redirected upload arrives as a GET, which would seem to have worked.
                    allow_redirects=data is None,
                ) as response,
            ):
                if response.status_code >= 300:
                    raise error_from_response(response.status_code, None, response.headers, request=label)
                return save(response, into, max_bytes, label) if into is not None else 0

        return self._retrying(once)

    def _retrying(self, once: Callable[[], T]) -> T:
        return Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, LinqError) and error.retryable),
            wait=_wait,
            stop=stop_after_attempt(self._max_retries + 1) | stop_before_delay(self._retry_budget),
            before_sleep=self._before_retry,
            reraise=True,
        )(once)

    def _before_retry(self, state: RetryCallState) -> None:
        self._count(retries=1)
        error = state.outcome.exception() if state.outcome else None
        log.warning("try %d failed, next in %.1f s: %s", state.attempt_number, state.upcoming_sleep, error)

    def _count(self, *, requests: int = 0, retries: int = 0) -> None:
        with self._count_lock:
            before = self._traffic
            self._traffic = Traffic(before.requests + requests, before.retries + retries)


_exponential = wait_random_exponential(multiplier=0.5, max=30)


def _wait(state: RetryCallState) -> float:
    """Seconds until the next try: what the API asked for, else exponential with full jitter."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, LinqError) else None
    # On top of what the API asked for too: so that all who were told the same don't come back together.
    return _exponential(state) + (asked or 0.0)


def _checked_key(key: str) -> str:
    if not isinstance(key, str) or not key:
        raise SettingsError("api_key: must be given, or stand in LINQ_API_KEY, got none")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise SettingsError(
            "api_key: must be ASCII without spaces and line breaks, got some (its end is the usual place)"
        )
    return key


def _renewal(renew_key: Callable[[], str] | None) -> Callable[[], str] | None:
    return None if renew_key is None else lambda: _checked_key(renew_key())


def _checked_base_url(url: str) -> str:
    """Return the URL without a slash at its end; what is refused may hold a password, so only its host is shown."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        raise SettingsError("base_url: must be a URL, got something else") from None
    if parts.scheme not in ("http", "https") or not host or url != url.strip():
        raise SettingsError(f"base_url: must be an http or https URL, got scheme {parts.scheme!r} and host {host!r}")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise SettingsError(f"base_url: must hold no user, password, query or fragment, got one with host {host!r}")
    if "/v3" in parts.path:
        raise SettingsError(f"base_url: must end in /api/partner, without /v3, got path {parts.path!r}")
    return url.rstrip("/")
