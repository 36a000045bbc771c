"""Commands for the emulator itself: clock, switches, seed, faults and reset; and its ledger and logs."""

from __future__ import annotations

import asyncio
import gc
import random
import re
import time
from collections.abc import AsyncIterator, Iterable
from itertools import islice
from typing import Annotated, Any

from msgspec import Meta, Struct
from starlette.responses import Response, StreamingResponse

from linq_emulator.clock import DAY, SECOND, ClockError, iso
from linq_emulator.control.base import Command, CommandError, Handler, parse_time
from linq_emulator.domain import seed, validate
from linq_emulator.domain.models import Line
from linq_emulator.faults import FaultSpec
from linq_emulator.ledger import ledger_entry
from linq_emulator.server import openapi

__all__ = ["HANDLERS"]

Share = Annotated[float, Meta(ge=0, le=1)]

_ENTRIES_A_CHUNK = 500

MAX_SEEDED_MESSAGES = 2_000_000
"""Of one seed. That many take some minutes, in which the server responds to nothing else."""
MAX_SEEDED_TEXT = 2_000_000_000
"""Bytes of text of one seed. `warm` needs twice as much memory."""


class ClockChange(Struct, forbid_unknown_fields=True):
    """Body of POST clock; `advance` in seconds, `speed` in virtual seconds per real second."""

    freeze: bool | None = None
    now: str | None = None
    advance: Annotated[float, Meta(ge=0, le=100 * 366 * DAY / SECOND)] = 0
    speed: Annotated[float, Meta(gt=0, le=1_000_000)] | None = None


def get_clock(command: Command) -> object:
    """The time and how it passes."""
    clock = command.backend.clock
    return {"now": iso(clock.now()), "frozen": clock.frozen, "speed": clock.speed}


def change_clock(command: Command) -> object:
    """Freeze, set, advance or speed up the clock. Everything that becomes due happens before the response."""
    change = command.parse(ClockChange)
    backend = command.backend
    now = None if change.now is None else parse_time(change.now, "now")
    if now is not None and now < backend.now() and backend.store.ledger:
        raise CommandError("now", "the clock cannot go back once there are messages")
    try:
        backend.clock.set(frozen=change.freeze, now=now, advance=round(change.advance * SECOND), speed=change.speed)
    except ClockError as error:
        raise CommandError("advance", str(error)) from None
    return get_clock(command)


def get_switches(command: Command) -> object:
    """The value of every switch."""
    return command.backend.switches.as_dict()


def change_switches(command: Command) -> object:
    """Set the given switches."""
    command.backend.switches.update(command.parse(dict[str, Any]))
    # Cached JSON may hold URLs that were signed with another lifetime.
    for message in command.backend.store.messages.values():
        if any(part.attachment is not None for part in message.parts):
            message.encoded = None
    return get_switches(command)


class Seed(Struct, forbid_unknown_fields=True):
    """Body of POST seed."""

    chats: Annotated[int, Meta(ge=1, le=200_000)]
    lines: Annotated[int, Meta(ge=1, le=1000)] | Annotated[list[str], Meta(max_length=1000)] | None = None
    messages_per_chat: Annotated[int, Meta(ge=0, le=MAX_SEEDED_MESSAGES)] | None = None
    messages: Annotated[int, Meta(ge=0, le=MAX_SEEDED_MESSAGES)] | None = None
    hours: Annotated[float, Meta(ge=0, le=87_600)] = 24
    inbound_share: Share = 0.4
    groups_share: Share = 0.1
    text_bytes: Annotated[int, Meta(ge=9, le=10_000)] = 200
    seed: int = 0
    warm: bool = False
    """Encode every message now. The first read of a page then costs as little as later ones, and takes more memory."""


def run_seed(command: Command) -> object:
    """Make chats and messages. The server responds to no other request meanwhile."""
    body = command.parse(Seed)
    backend = command.backend
    if (body.messages is None) == (body.messages_per_chat is None):
        raise CommandError("messages", "give either messages or messages_per_chat")
    started = time.perf_counter()
    counts = seed.messages_by_chat(body.chats, body.messages, body.messages_per_chat)
    messages = sum(counts)
    if messages > MAX_SEEDED_MESSAGES:
        raise CommandError("messages_per_chat", f"must make at most {MAX_SEEDED_MESSAGES} messages in all chats")
    if messages * body.text_bytes > MAX_SEEDED_TEXT:
        raise CommandError("text_bytes", f"must make at most {MAX_SEEDED_TEXT} bytes of text in all messages")
    lines = _seed_lines(command, body.lines)
    # With the number of the run, a second run with the same seed does not make the same identifiers.
    rng = random.Random(f"{body.seed}/{backend.seed_runs}")
    backend.seed_runs += 1
    seed.Seeder(
        backend,
        rng,
        hours=body.hours,
        inbound_share=body.inbound_share,
        groups_share=body.groups_share,
        text_bytes=body.text_bytes,
    ).fill(lines, counts)
    if body.warm:
        seed.fill_caches(backend)
    return {
        "lines": [line.phone_number for line in lines],
        "chats": len(counts),
        "messages": messages,
        "seconds": round(time.perf_counter() - started, 3),
    }


def _seed_lines(command: Command, lines: int | list[str] | None) -> list[Line]:
    if not isinstance(lines, list):
        return seed.lines_for(command.backend, lines)
    if not lines or not all(validate.is_phone(number) for number in lines):
        raise CommandError("lines", "must be phone numbers in E.164 format")
    return [command.backend.store.add_line(number) for number in lines]


def add_fault(command: Command) -> object:
    """Add a fault."""
    return command.backend.faults.add(command.parse(FaultSpec)).as_dict()


def list_faults(command: Command) -> object:
    """The active faults with their hits."""
    return {"faults": [fault.as_dict() for fault in command.backend.faults.active]}


def clear_faults(command: Command) -> object:
    """Remove every fault."""
    command.backend.faults.active.clear()
    return {"faults": []}


def remove_fault(command: Command) -> object:
    """Remove one fault."""
    fault_id: str = command.request.path_params["fault_id"]
    if not command.backend.faults.remove(fault_id):
        raise CommandError("fault_id", f"there is no fault {fault_id}", 404)
    return list_faults(command)


def _stream(entries: Iterable[bytes]) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        iterator = iter(entries)
        while chunk := list(islice(iterator, _ENTRIES_A_CHUNK)):
            yield b"\n".join(chunk) + b"\n"
            # The server responds to other requests in between.
            await asyncio.sleep(0)

    return StreamingResponse(chunks(), media_type="application/x-ndjson")


def get_ledger(command: Command) -> object:
    """Every message that was ever accepted as NDJSON, in the order of acceptance, without the first ``?skip=``."""
    ledger = command.backend.store.ledger
    skip = command.request.query_params.get("skip", "0")
    if not re.fullmatch(r"[0-9]{1,9}", skip):
        raise CommandError("skip", "must be a number of messages, 0 or more")
    return _stream(ledger_entry(message) for message in islice(ledger, int(skip), len(ledger)))


def get_requests(command: Command) -> object:
    """The last requests as NDJSON; with ``?summary=1`` exact counts of all, and how many are under way."""
    log = command.backend.request_log
    if command.request.query_params.get("summary") in ("1", "true"):
        return {"summary": log.summary(), "under_way": command.backend.under_way.count}
    return _stream(log.entries())


def get_webhooks(command: Command) -> object:
    """The webhook deliveries with their attempts."""
    return {"deliveries": command.backend.webhooks.as_dicts()}


def get_openapi(command: Command) -> object:
    """The OpenAPI document of what is emulated."""
    return openapi.document(command.backend.settings.origin)


def reset(command: Command) -> object:
    """Return to the state of the start, except for the time."""
    was_seeded = command.backend.seed_runs > 0
    command.backend.reset()
    if was_seeded:
        # The collector ignores what a seed made until it is unfrozen. Chats and messages refer to each other.
        gc.unfreeze()
        gc.collect()
    return get_clock(command)


HANDLERS: list[tuple[str, str, Handler]] = [
    ("GET", "clock", get_clock),
    ("POST", "clock", change_clock),
    ("GET", "switches", get_switches),
    ("PATCH", "switches", change_switches),
    ("POST", "seed", run_seed),
    ("POST", "faults", add_fault),
    ("GET", "faults", list_faults),
    ("DELETE", "faults", clear_faults),
    ("DELETE", "faults/{fault_id}", remove_fault),
    ("GET", "ledger", get_ledger),
    ("GET", "requests", get_requests),
    ("GET", "webhooks", get_webhooks),
    ("GET", "openapi.json", get_openapi),
    ("POST", "reset", reset),
]
