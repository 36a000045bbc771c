"""Makes the state of a journal again: its requests go through the application, at their times."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope

from linq_emulator.backend import Backend
from linq_emulator.domain.webhooks import Delivery
from linq_emulator.journal import Attempt, Journal, Request

__all__ = ["replay"]


async def replay(backend: Backend, app: ASGIApp, journal: Journal) -> None:
    """Make every request of a journal again. Nothing is delivered meanwhile; what is pending then is attempted.

    Args:
        backend: The emulator, which was made from the journal's start.
        app: Its application, without what guards it.
        journal: What to make again.
    """
    clock = backend.clock
    start = journal.start
    assert start is not None
    clock.set(now=start.at, frozen=start.frozen, speed=start.speed)
    backend.media.origin = start.origin
    backend.webhooks.is_paused = True
    for entry in journal.entries:
        if isinstance(entry, Attempt):
            _restore_routing(backend, entry)
            continue
        backend.replayed_trace_id = entry.trace_id
        clock.pin(entry.at)
        await app(_scope(backend, entry), _receiver(entry), _ignore)
    backend.replayed_trace_id = None
    clock.unpin()
    _restore_attempts(backend, journal)
    backend.media.origin = backend.settings.origin
    backend.webhooks.is_paused = False
    if not clock.frozen:
        # The time went on while no emulator ran. What became due happens at its own time.
        clock.set(advance=round(journal.real_milliseconds_since_last() * clock.speed))
    journal.entries.clear()


def _scope(backend: Backend, entry: Request) -> Scope:
    settings = backend.settings
    key = settings.token if entry.path.startswith("/_emulator/") else settings.api_key
    headers = {"host": "127.0.0.1", "authorization": f"Bearer {key}", "content-length": str(len(entry.body()))}
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": entry.method,
        "scheme": "http",
        "path": entry.path,
        "query_string": entry.query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in (headers | entry.headers).items()],
        "client": None,
        "server": None,
    }


def _receiver(entry: Request) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": entry.body(), "more_body": False}

    return receive


async def _ignore(message: Message) -> None:
    """The response was sent when the request was made."""


def _restore_routing(backend: Backend, attempt: Attempt) -> None:
    """Between the requests before and after it, since a change of the subscription drops its tokens."""
    subscription = backend.webhooks.subscriptions.get(attempt.subscription_id)
    if subscription is not None and attempt.chat_id and attempt.routing_token:
        subscription.routing_tokens[attempt.chat_id] = attempt.routing_token


def _restore_attempts(backend: Backend, journal: Journal) -> None:
    deliveries: dict[tuple[str, str], Delivery] = {
        (delivery.event_id, delivery.subscription.id): delivery for delivery in backend.webhooks.deliveries
    }
    for entry in journal.entries:
        delivery = deliveries.get((entry.event_id, entry.subscription_id)) if isinstance(entry, Attempt) else None
        if isinstance(entry, Attempt) and delivery is not None:
            delivery.state = entry.state
            delivery.attempts.append({"at": entry.at, "status": entry.status, "error": entry.error})
    backend.webhooks.attempt_pending()
