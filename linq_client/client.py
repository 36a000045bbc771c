"""`LinqClient`: settings, the endpoints, and the one path that every request takes.

Endpoints are methods of the resources (`client.chats.create(...)`, see `resources`); all of them end in
`LinqClient.request`. How a request is sent is in `_transport`, to whom in `_network`, when it ends at the latest in
`_deadline`, when it is sent again in `_retry`, `_outage` and `_credentials`, how many reads run concurrently in
`_concurrency`, what an error response means in `_verdict`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import IO, Any, Final

from typing_extensions import Self

from linq_client import resources
from linq_client._checks import check_encodable, check_key, check_path
from linq_client._concurrency import AdaptiveConcurrency
from linq_client._credentials import Credentials
from linq_client._deadline import Lifetime
from linq_client._network import Proxies, ca_certificates, check_base_url
from linq_client._outage import Outages
from linq_client._response import APIResponse
from linq_client._retry import CallEffect, RequestCounter, RequestStats, Retries, RetrySettings
from linq_client._transport import Transport
from linq_client.errors import ChatNotFoundError, Effect, LinqError, NotFoundError, RequestKind, SettingsError

__all__ = ["DEFAULT_BASE_URL", "DEFAULT_TIMEOUT", "LinqClient"]

DEFAULT_BASE_URL: Final = "https://api.linqapp.com/api/partner"

#: Seconds for a connection and for each read. The API fetches media that a message names by URL before it responds, for
#: which 75 seconds were needed; the deadline of an exchange has to be later.
DEFAULT_TIMEOUT: Final = (5.0, 90.0)


class LinqClient:
    """The Linq Partner API v3.

    Safe to use from several threads; close it, or use it as a context manager. When the API limits reads (429), all
    threads slow down together and recover.

    Args:
        api_key: from the environment variable `LINQ_API_KEY` if None.
        base_url: ends in `/api/partner`, without `/v3`; from `LINQ_BASE_URL` if None, else the vendor's.
        timeout: seconds to wait for a connection, and for each read of a response. The API responds to a message with
            media by URL when it has fetched the file, which can take more than a minute.
        max_retries: tries after the first one. Only calls that may safely be repeated are retried: reads, calls that
            set a state, and sends (which always carry an idempotency key).
        retry_budget: seconds after which no other try of a call begins; a `Retry-After` that does not fit ends it.
        pool_size: connections kept open, and so the number of threads that can be served concurrently.
        renew_key: returns the key that is valid now. It is asked, by one thread at a time, when the API refuses the
            present key (401). Another key is taken from then on, and the refused request is made again with it. After
            the same key the `AuthenticationError` is permanent; if `renew_key` raises, it is not.
        retry: how long to wait between tries.
        deadline: seconds for a whole exchange, from its connection to the last byte of the response. One that moves a
            file gets more, by its size.
        outage_patience: seconds that reads wait out an outage of the API: all pause, and one of each endpoint asks
            again. When they are used up, this client makes no further read (`APIUnavailableError`). Where a single
            endpoint is down, its reads wait for a shorter time, see `RetrySettings`, and then fail by themselves.
            0: each read fails by itself.
        proxy: URL of the proxy for all requests; by default those of the environment.
        verify: path to a file or folder of CA certificates; True for those of the environment, else the usual ones.
        allow_http: whether `base_url` may be `http://` to another machine. The key can be read on the way there.

    Raises:
        SettingsError: no key, a base URL that is none, a number out of range, or a proxy or CA certificates that can't
            be used.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        timeout: tuple[float, float] = DEFAULT_TIMEOUT,
        max_retries: int = 4,
        retry_budget: float = 120.0,
        pool_size: int = 10,
        renew_key: Callable[[], str] | None = None,
        retry: RetrySettings | None = None,
        deadline: float = 120.0,
        outage_patience: float = 0.0,
        proxy: str | None = None,
        verify: bool | str | os.PathLike[str] = True,
        allow_http: bool = False,
    ) -> None:
        # An empty argument is a mistake of the caller's, and must not turn into another account or another server.
        self._credentials = Credentials(os.environ.get("LINQ_API_KEY", "") if api_key is None else api_key, renew_key)
        self.base_url = check_base_url(
            os.environ.get("LINQ_BASE_URL", DEFAULT_BASE_URL) if base_url is None else base_url, allow_http=allow_http
        )
        for name, value, least in (
            ("timeout", timeout[0], 0.001),
            ("timeout", timeout[1], 0.001),
            ("max_retries", max_retries, 0),
            ("retry_budget", retry_budget, 0),
            ("pool_size", pool_size, 1),
            ("deadline", deadline, 0.001),
            ("outage_patience", outage_patience, 0),
        ):
            if not isinstance(value, int | float) or not value >= least:
                raise SettingsError(f"{name}: must be a number of at least {least}, got {value!r}")
        retry = retry or RetrySettings()
        self._counter = RequestCounter()
        self._lifetime = Lifetime()
        self._transport = Transport(
            self.base_url,
            timeout,
            deadline,
            pool_size,
            Proxies(proxy),
            ca_certificates(verify),
            self._counter,
            self._lifetime,
        )
        self._retries = Retries(max_retries, retry_budget, retry, self._counter, self._lifetime.sleep)
        self._reads = AdaptiveConcurrency(
            pool_size, longest_pause=outage_patience or retry_budget, pause=retry.pause, lifetime=self._lifetime
        )
        self._outages = (
            Outages(outage_patience, retry, self._retries, self._reads, self._counter, self._lifetime)
            if outage_patience
            else None
        )

        self.attachments = resources.Attachments(self)
        self.available_number = resources.AvailableNumbers(self)
        self.background = resources.Backgrounds(self)
        self.blocked_handles = resources.BlockedHandles(self)
        self.capability = resources.Capabilities(self)
        self.chats = resources.Chats(self)
        self.contact_card = resources.ContactCards(self)
        self.experiences = resources.Experiences(self)
        self.location = resources.LocationSharing(self)
        self.messages = resources.Messages(self)
        self.participants = resources.Participants(self)
        self.phone_numbers = resources.PhoneNumbers(self)
        self.polls = resources.Polls(self)
        self.typing = resources.Typing(self)
        self.webhook_events = resources.WebhookEvents(self)
        self.webhook_subscriptions = resources.WebhookSubscriptions(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"LinqClient(base_url={self.base_url!r})"

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    def abort(self) -> None:
        """End all calls within a second, with `ClientClosedError`, and let none begin any more.

        Safe from any thread and from a signal handler; it returns immediately. Calls end that wait for a connection, a
        response, a retry or the end of a pause. One whose host's name is being resolved ends when the system's resolver
        gives up.
        """
        self._lifetime.abort()

    @property
    def known_server_time(self) -> datetime | None:
        """The server's time at its latest response to this client; None if there was none yet.

        A `Date` far off the earlier ones counts when the next response confirms it.
        """
        return self._transport.server_time

    @property
    def server_time(self) -> datetime:
        """The API's clock (UTC, whole seconds) at its latest response to this client; asks if there was none yet."""
        if self._transport.server_time is None:
            self.request("GET", "/v3/phone_numbers")
        assert self._transport.server_time is not None
        return self._transport.server_time

    @property
    def stats(self) -> RequestStats:
        """What this client has sent so far."""
        return self._counter.stats

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
        idempotency_key: str | None = None,
        may_be_empty: bool = False,
    ) -> APIResponse:
        """Send one request to the API, and again while that is safe and may help.

        All methods of the resources end here, and endpoints without such a method are called by it: errors, retries and
        pauses are the same, and `APIResponse.parse` makes a model of what comes back.

        Args:
            path: from `/v3/` on, without a query.
            params: the query; None values are left out, and a list is repeated.
            kind: what the request can do; by default a GET reads, a request with an `idempotency_key` sends, and
                anything else changes something.
            repeatable: whether a second copy of the request does no harm; by default that of a read, a send, PUT and
                DELETE.
            has_text: the request carries message text, so the API's words about it are not quoted in errors.
            list_field: the field of the response that holds a list. A response without it is an `APIConnectionError`:
                it must not pass for an empty list.
            idempotency_key: sent in the header `Idempotency-Key`, which makes the request repeatable. Only for
                endpoints that document this header: others do a second time what is asked a second time.
            may_be_empty: whether a success without a body is one, with another status than 204 too.

        Raises:
            InvalidRequestError: the path is none of the API's, or a text holds half a surrogate pair.
            LinqError: the class says what to do about it, see `linq_client.errors`.
        """
        method = method.upper()
        check_path(path)
        if idempotency_key is not None:
            headers = {**(headers or {}), "Idempotency-Key": check_key(idempotency_key)}
        if kind is None:
            keyless = RequestKind.READ if method == "GET" else RequestKind.CHANGE
            kind = keyless if idempotency_key is None else RequestKind.SEND
        if repeatable is None:
            repeatable = kind is not RequestKind.CHANGE or method in ("PUT", "DELETE")
        params = {name: value for name, value in (params or {}).items() if value is not None}
        check_encodable(params)
        check_encodable(json)
        exchange = partial(
            self._transport.exchange,
            method=method,
            path=path,
            kind=kind,
            has_text=has_text,
            list_field=list_field,
            may_be_empty=may_be_empty,
            params=params,
            json=json,
            headers=headers,
        )
        effect = CallEffect(kind)

        def once() -> APIResponse:
            try:
                with effect.one_try():
                    return self._credentials.run(exchange)
            except NotFoundError as error:
                if method != "DELETE" or not _deleted_before(error):
                    raise
                return APIResponse({}, error.status or 404, error.trace_id, self.server_time, kind)

        try:
            if method == "GET" and self._outages is not None:
                return self._outages.read(path, once)
            attempt = partial(self._reads.run, once) if method == "GET" else once
            if not repeatable:
                return attempt()
            with effect.one_try():  # also of an error between two tries
                return self._retries.run(attempt)
        except LinqError as error:
            error.idempotency_key = idempotency_key
            raise

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
            FileTooLargeError: the file is larger than `max_bytes`.
            InvalidRequestError: the URL, or one that it redirects to, is none that a file may be at: https on a public
                host, or where the API itself is.
            LinqError: as `request`.
        """
        start = {file: file.tell() for file in (data, into) if file is not None and not isinstance(file, bytes)}
        effect = CallEffect(RequestKind.READ)

        def once() -> int:
            for file, position in start.items():
                file.seek(position)
            with effect.one_try():
                return self._transport.transfer(method, url, data=data, headers=headers, into=into, max_bytes=max_bytes)

        return self._retries.run(once)


def _deleted_before(error: NotFoundError) -> bool:
    """Whether a DELETE finds nothing because an earlier try of it, whose response was lost, may have done it.

    No DELETE deletes a chat, so a missing chat is none of its doing.
    """
    return error.verdict and error.effect is Effect.UNKNOWN and not isinstance(error, ChatNotFoundError)
