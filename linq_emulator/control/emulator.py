"""Orders about the emulator itself: time, switches, seed, faults, reset, and what it has recorded."""

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

from linq_emulator.clock import SECOND, iso
from linq_emulator.control.base import ControlError, Operation, Order, moment
from linq_emulator.domain import seed, validate
from linq_emulator.domain.models import Line
from linq_emulator.faults import Fault, Kind, When
from linq_emulator.ledger import ledger_line

Share = Annotated[float, Meta(ge=0, le=1)]

_BATCH = 500


class ClockChange(Struct, forbid_unknown_fields=True):
    """Body of POST clock; `advance` in seconds, `speed` in virtual seconds for each real one."""

    freeze: bool | None = None
    now: str | None = None
    advance: Annotated[float, Meta(ge=0)] = 0
    speed: Annotated[float, Meta(gt=0, le=1_000_000)] | None = None


def get_clock(order: Order) -> object:
    """What time it is, and how time passes."""
    clock = order.world.clock
    return {"now": iso(clock.now()), "frozen": clock.frozen, "speed": clock.speed}


def change_clock(order: Order) -> object:
    """Freeze, set, advance or speed up; everything that becomes due happens before the answer."""
    change = order.read(ClockChange)
    world = order.world
    now = None if change.now is None else moment(change.now, "now")
    if now is not None and now < world.now() and world.store.ledger:
        raise ControlError("now", "the clock cannot go back once there are messages")
    world.clock.change(frozen=change.freeze, now=now, advance=round(change.advance * SECOND), speed=change.speed)
    return get_clock(order)


def get_switches(order: Order) -> object:
    """The position of every switch."""
    return order.world.switches.as_dict()


def change_switches(order: Order) -> object:
    """Set the given switches."""
    order.world.switches.update(order.read(dict[str, Any]))
    # Cached bytes may hold URLs that were signed for another lifetime.
    for message in order.world.store.messages.values():
        if any(part.attachment is not None for part in message.parts):
            message.encoded = None
    return get_switches(order)


class Seed(Struct, forbid_unknown_fields=True):
    """Body of POST seed."""

    chats: Annotated[int, Meta(ge=1, le=200_000)]
    lines: Annotated[int, Meta(ge=1, le=1000)] | list[str] | None = None
    messages_per_chat: Annotated[int, Meta(ge=0)] | None = None
    messages: Annotated[int, Meta(ge=0, le=20_000_000)] | None = None
    hours: Annotated[float, Meta(ge=0, le=87_600)] = 24
    inbound_share: Share = 0.4
    groups_share: Share = 0.1
    text_bytes: Annotated[int, Meta(ge=9, le=10_000)] = 200
    seed: int = 0
    warm: bool = False
    """Encode every message now: the first read of a page then costs what later ones do, for more memory."""


def run_seed(order: Order) -> object:
    """Make chats and messages; the server answers nothing else meanwhile."""
    body = order.read(Seed)
    world = order.world
    if (body.messages is None) == (body.messages_per_chat is None):
        raise ControlError("messages", "give messages or messages_per_chat: one of them")
    started = time.perf_counter()
    counts = seed.counts_of(body.chats, body.messages, body.messages_per_chat)
    lines = _lines(order, body.lines)
    # The number of the run keeps a second run with the same seed from making the same identifiers.
    rng = random.Random(f"{body.seed}/{world.seed_runs}")
    world.seed_runs += 1
    seed.Seeder(
        world,
        rng,
        hours=body.hours,
        inbound_share=body.inbound_share,
        groups_share=body.groups_share,
        text_bytes=body.text_bytes,
    ).fill(lines, counts)
    if body.warm:
        seed.warm(world)
    return {
        "lines": [line.phone_number for line in lines],
        "chats": len(counts),
        "messages": sum(counts),
        "seconds": round(time.perf_counter() - started, 3),
    }


def _lines(order: Order, wanted: int | list[str] | None) -> list[Line]:
    if not isinstance(wanted, list):
        return seed.lines_for(order.world, wanted)
    if not wanted or not all(validate.is_phone(number) for number in wanted):
        raise ControlError("lines", "must be phone numbers in E.164 format")
    return [order.world.store.add_line(number) for number in wanted]


class NewFault(Struct, forbid_unknown_fields=True):
    """Body of POST faults; see `linq_emulator.faults.Fault`."""

    kind: Kind
    path: str = ""
    method: str | None = None
    probability: Share = 1
    count: Annotated[int, Meta(ge=1)] | None = None
    when: When = "before"
    status: Annotated[int, Meta(ge=400, le=599)] = 500
    code: int = 3006
    seconds: Annotated[float, Meta(ge=0, le=600)] = 1
    retry_after: Annotated[int, Meta(ge=0)] | None = None


def _shown(fault: Fault) -> dict[str, object]:
    return {
        "id": fault.id,
        "kind": fault.kind,
        "path": fault.path.pattern,
        "method": fault.method,
        "probability": fault.probability,
        "count": fault.count,
        "when": fault.when,
        "status": fault.status,
        "code": fault.code,
        "seconds": fault.seconds,
        "retry_after": fault.retry_after,
        "hits": fault.hits,
    }


def add_fault(order: Order) -> object:
    """Order a fault."""
    body = order.read(NewFault)
    try:
        path = re.compile(body.path)
    except re.error as error:
        raise ControlError("path", f"must be a regular expression: {error}") from None
    faults = order.world.faults
    fault = Fault(
        id=faults.next_id(),
        kind=body.kind,
        path=path,
        method=body.method.upper() if body.method else None,
        probability=body.probability,
        count=body.count,
        when=body.when,
        status=body.status,
        code=body.code,
        seconds=body.seconds,
        retry_after=body.retry_after,
    )
    faults.orders.append(fault)
    return _shown(fault)


def list_faults(order: Order) -> object:
    """The faults in force, and how often each has hit."""
    return {"faults": [_shown(fault) for fault in order.world.faults.orders]}


def clear_faults(order: Order) -> object:
    """Withdraw every fault."""
    order.world.faults.orders.clear()
    return {"faults": []}


def remove_fault(order: Order) -> object:
    """Withdraw one fault."""
    number = order.request.path_params["fault_id"]
    if not order.world.faults.remove(number):
        raise ControlError("fault_id", f"there is no fault {number}", 404)
    return list_faults(order)


def _stream(lines: Iterable[bytes]) -> Response:
    async def batches() -> AsyncIterator[bytes]:
        source = iter(lines)
        while batch := list(islice(source, _BATCH)):
            yield b"\n".join(batch) + b"\n"
            # Other requests are served in between.
            await asyncio.sleep(0)

    return StreamingResponse(batches(), media_type="application/x-ndjson")


def ledger(order: Order) -> object:
    """Every message ever accepted, one line each, in the order of acceptance."""
    ledger = order.world.store.ledger
    return _stream(ledger_line(message) for message in islice(ledger, len(ledger)))


def requests(order: Order) -> object:
    """The last requests, one line each; with ``?summary=1`` exact counts of all."""
    log = order.world.requests
    if order.request.query_params.get("summary") in ("1", "true"):
        return {"summary": log.summary()}
    return _stream(log.lines())


def webhooks(order: Order) -> object:
    """The deliveries to subscribers, with each attempt."""
    return {"deliveries": order.world.webhooks.as_dicts()}


def reset(order: Order) -> object:
    """Back to how the emulator was started, except for the time."""
    seeded = order.world.seed_runs > 0
    order.world.reset()
    if seeded:
        # What a seed made was taken out of the collector's sight; chats and messages refer to each other.
        gc.unfreeze()
        gc.collect()
    return get_clock(order)


OPERATIONS: list[tuple[str, str, Operation]] = [
    ("GET", "clock", get_clock),
    ("POST", "clock", change_clock),
    ("GET", "switches", get_switches),
    ("PATCH", "switches", change_switches),
    ("POST", "seed", run_seed),
    ("POST", "faults", add_fault),
    ("GET", "faults", list_faults),
    ("DELETE", "faults", clear_faults),
    ("DELETE", "faults/{fault_id:int}", remove_fault),
    ("GET", "ledger", ledger),
    ("GET", "requests", requests),
    ("GET", "webhooks", webhooks),
    ("POST", "reset", reset),
]
