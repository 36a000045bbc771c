"""`LinqClient`: the session, the key, the one path that every request takes, retries and pagination.

Endpoints are methods of the resources (`client.chats.create(...)`, see `resources`); all of them end in
`LinqClient.request`.
"""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from importlib.metadata import version
from threading import Lock
from typing import IO, Any, Final, TypeVar
from urllib.parse import urlsplit

import requests
from pydantic_core import from_json
from requests.adapters import HTTPAdapter
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
from linq_client.errors import (
    APIConnectionError,
    InvalidRequestError,
    LinqError,
    RateLimitedError,
    error_from_answer,
)
from linq_client.listing import Reply
from linq_client.pacing import Pace

DEFAULT_BASE_URL: Final = "https://api.linqapp.com/api/partner"

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
        retry_budget: seconds that one call may take with all its retries; a `Retry-After` that does not fit ends it.
        pool_size: connections kept open, and so the number of threads that can be served at once.

    Raises:
        InvalidRequestError: no key, or a base URL that is none.
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
    ) -> None:
        self._key = _checked_key(api_key or os.environ.get("LINQ_API_KEY", ""))
        self.base_url = _checked_base_url(base_url or os.environ.get("LINQ_BASE_URL") or DEFAULT_BASE_URL)
        self._timeout = timeout
        self._max_retries = max_retries
        self._retry_budget = retry_budget
        self._api = _session(pool_size, _BearerAuth(self._key))
        # Files lie on other hosts, whose URLs carry their own signature: this session has no key to give away.
        self._files = _session(pool_size, _NoAuth())
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
        """The API's clock (UTC, whole seconds) in its latest answer; asks the API if there was none yet."""
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
        repeatable: bool | None = None,
        has_text: bool = False,
    ) -> Reply:
        """Send one request to the API, and again while that is safe and may help.

        Args:
            path: from `/v3` on.
            repeatable: whether a second copy of the request does no harm; by default that of the HTTP method.
            has_text: the request carries message text, so the API's words about it are not quoted in errors.

        Raises:
            LinqError: the class says what to do about it, see `linq_client.errors`.
        """
        if repeatable is None:
            repeatable = method in ("GET", "PUT", "DELETE")
        params = {name: value for name, value in (params or {}).items() if value is not None}

        def send() -> Reply:
            self._count(requests=1)
            response = _send(
                self._api,
                method,
                self.base_url + path,
                label=f"{method} {path}",
                params=params,
                json=json,
                headers=headers,
                timeout=self._timeout,
                # An API does not redirect; whoever does it in its place must not be followed with the key.
                allow_redirects=False,
            )
            body = _decoded(response, f"{method} {path}")
            reply = Reply(body, response.status_code, response.headers.get("X-Trace-ID"), _date(response))
            self._server_time = reply.server_time
            if response.is_redirect:
                target = urlsplit(response.headers["Location"]).hostname
                raise InvalidRequestError(f"base_url: must be the API itself, got a redirect to {target!r}")
            if response.status_code >= 300:
                raise error_from_answer(
                    reply.status, body, response.headers, request=f"{method} {path}", detail=not has_text
                )
            return reply

        def paced() -> Reply:
            with self._pace:
                try:
                    reply = send()
                except RateLimitedError as error:
                    self._pace.limited(error.retry_after)
                    raise
                self._pace.worked()
                return reply

        once = paced if method == "GET" else send

        return self._retrying(once) if repeatable else once()

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

        def once() -> int:
            self._count(requests=1)
            for file, position in start.items():
                file.seek(position)
            with _send(
                self._files, method, url, label=label, data=data, headers=headers, timeout=self._timeout, stream=True
            ) as response:
                if response.status_code >= 300:
                    raise error_from_answer(response.status_code, None, response.headers, request=label, detail=False)
                return _save(response, into, max_bytes, label) if into is not None else 0

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


class _BearerAuth(requests.auth.AuthBase):
    """Puts the key on a request. As an auth object, and not a header, it also keeps `~/.netrc` from replacing it."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request


class _NoAuth(requests.auth.AuthBase):
    """Nothing, not even what `~/.netrc` would give."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


_exponential = wait_random_exponential(multiplier=0.5, max=30)


def _wait(state: RetryCallState) -> float:
    """Seconds until the next try: what the API asked for, else exponential with full jitter."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, LinqError) else None
    return _exponential(state) if asked is None else asked


def _session(pool_size: int, auth: requests.auth.AuthBase) -> requests.Session:
    session = requests.Session()
    session.auth = auth
    session.headers["User-Agent"] = (
        f"linq-connectors/{version('linq-connectors')} python/{platform.python_version()} "
        f"requests/{requests.__version__}"
    )
    # The API sets no cookies, and a cookie jar is the one part of a session that threads would share and change.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = HTTPAdapter(pool_maxsize=pool_size, pool_block=True)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _send(session: requests.Session, method: str, url: str, *, label: str, **options: Any) -> requests.Response:
    try:
        return session.request(method, url, **options)
    except requests.RequestException as error:
        raise APIConnectionError(f"{label}: no usable answer ({type(error).__name__})") from error


def _decoded(response: requests.Response, label: str) -> Any:
    if response.status_code == 204:
        return None
    try:
        body = from_json(response.content)
    except ValueError:
        body = None
    if response.status_code < 300 and not isinstance(body, dict):
        raise APIConnectionError(f"{label}: the answer is not a JSON object", status=response.status_code)
    return body  # of an error, it may be None: a proxy's page, say, whose status says enough


def _save(response: requests.Response, into: IO[bytes], max_bytes: int | None, label: str) -> int:
    size = 0
    try:
        for chunk in response.iter_content(64 * 1024):
            size += len(chunk)
            if max_bytes is not None and size > max_bytes:
                raise InvalidRequestError(f"{label}: max_bytes: must be {max_bytes} at most, got more")
            into.write(chunk)
    except requests.RequestException as error:
        raise APIConnectionError(f"{label}: the file was cut short ({type(error).__name__})") from error
    into.truncate()
    return size


def _date(response: requests.Response) -> datetime:
    """The server's clock; the worker's own only where a proxy took the header off."""
    try:
        return parsedate_to_datetime(response.headers["Date"]).astimezone(timezone.utc)
    except (KeyError, ValueError):
        return datetime.now(timezone.utc)


def _checked_key(key: str) -> str:
    if not key:
        raise InvalidRequestError("api_key: must be given, or stand in LINQ_API_KEY, got none")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise InvalidRequestError(f"api_key: must be printable ASCII without spaces, got {len(key)} other characters")
    return key


def _checked_base_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
        raise InvalidRequestError(f"base_url: must be an http or https URL, got {parts.hostname or url!r}")
    if url.rstrip("/").endswith("/v3"):
        raise InvalidRequestError(f"base_url: must end in /api/partner, without /v3, got {url!r}")
    return url.rstrip("/")
