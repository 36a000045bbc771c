"""The comparisons: each fills an account, runs the programs one after the other, and says what came out."""

from __future__ import annotations

import json
from operator import attrgetter
from typing import Any

from benchmarks.account import account, get, slow_down, start_up
from benchmarks.measure import PLAIN_TAP, TAP, VENDOR_LOOP, Run, RunError, best_run, run, setting_default
from benchmarks.reference import json_rate, message_paths, read_pages
from benchmarks.table import Found, at_least, at_most, beside
from linq_emulator.testing import EmulatorProcess

WALL, CPU = attrgetter("wall"), attrgetter("cpu")
LATENCY = 0.05
DEFAULT_CONCURRENCY = 8
MESSAGES_PER_PAGE = 100
MEGABYTE = 1e6
# Messages a second: several times what loaders into databases reach, and a fraction of what the tap reads.
SLOW_LOADER = 5_000


def latency(quick: bool) -> Found:
    """Time, where the network is what one waits for: 50 ms a request, a full page of messages a chat."""
    chats = 60 if quick else 300
    setting = setting_default("concurrency")
    concurrency = setting or DEFAULT_CONCURRENCY
    programs = {"tap": TAP, "plain tap": PLAIN_TAP, "vendor loop": VENDOR_LOOP}
    empty = {name: start_up(program, WALL) for name, program in programs.items()}
    with account(chats, MESSAGES_PER_PAGE) as emulator:
        slow_down(emulator, LATENCY)
        full = {name: best_run(program, emulator, WALL) for name, program in programs.items()}
    for one in full.values():
        _check(one, chats * MESSAGES_PER_PAGE)
    least = full["tap"].requests * LATENCY / concurrency
    net = {name: full[name].wall - empty[name].wall for name in programs}
    what = f"{chats} chats at {LATENCY * 1000:.0f} ms"
    found = Found()
    found.rows = [
        at_most(f"{what}: tap without start-up / (requests x latency / {concurrency})", 1.3, net["tap"] / least),
        beside(f"{what}: the same with start-up", full["tap"].wall / least),
        at_least(f"{what}: plain tap / tap, both with start-up", 10, full["plain tap"].wall / full["tap"].wall),
        beside(f"{what}: plain tap / tap, both without start-up", net["plain tap"] / net["tap"]),
        beside(f"{what}: vendor loop / tap, both with start-up", full["vendor loop"].wall / full["tap"].wall),
        beside(f"{what}: vendor loop / tap, both without start-up", net["vendor loop"] / net["tap"]),
    ]
    origin = "the tap's default" if setting else "the tap has no such setting"
    found.figures.append(f"concurrency {concurrency} ({origin}); requests x latency / concurrency = {least:.2f} s")
    found.figures += [f"{name}: {_shown(full[name])}; start-up {_shown(empty[name])}" for name in programs]
    return found


def cpu(quick: bool) -> Found:
    """CPU, where the network costs nothing: messages of 1 kB, a full page a chat."""
    chats = 100 if quick else 300
    messages = chats * MESSAGES_PER_PAGE
    empty = {"tap": start_up(TAP, CPU), "plain tap": start_up(PLAIN_TAP, CPU)}
    with account(chats, MESSAGES_PER_PAGE) as emulator:
        full = {"tap": best_run(TAP, emulator, CPU), "plain tap": best_run(PLAIN_TAP, emulator, CPU)}
        described = _describe_message(emulator)
        loop = json_rate(read_pages(emulator, message_paths(emulator, MESSAGES_PER_PAGE, MESSAGES_PER_PAGE)))
    for one in full.values():
        _check(one, messages)
    rate = {name: messages / (full[name].cpu - empty[name].cpu) for name in full}
    with_start = {name: messages / full[name].cpu for name in full}
    found = Found()
    found.rows = [
        at_least("tap / loop of the standard library's JSON, messages a second of CPU", 0.9, rate["tap"] / loop),
        at_least("tap / plain tap, messages a second of CPU, without start-up", 5, rate["tap"] / rate["plain tap"]),
        beside(f"tap / the same loop, with start-up ({messages:,} messages)", with_start["tap"] / loop),
        beside("tap / plain tap, with start-up", with_start["tap"] / with_start["plain tap"]),
    ]
    found.figures.append(described)
    found.figures.append(f"loop of the standard library's JSON: {loop:,.0f} messages a second of CPU")
    found.figures += [f"{name}: {_shown(full[name])}; start-up {_shown(empty[name])}" for name in full]
    return found


def many_chats(quick: bool) -> Found:
    """Requests of an hourly run, and the size of STATE, with very many chats of which few are active."""
    chats = 1_000 if quick else 10_000
    active = chats // 100
    plain_chats = min(chats, 1_000)
    with account(chats, 1, ephemeral_hours=24) as emulator:
        # An hour without activity first: what the overlap of two runs reads again is not the 1 % that is asked about.
        emulator.advance(3600)
        first = run(TAP, emulator)
        emulator.advance(3000)
        _receive(emulator, active)
        emulator.advance(600)
        second = run(TAP, emulator, first.written.state)
    _check(first, chats)
    if second.written.messages < active:
        raise RunError(f"{active} messages arrived, {second.written.messages} were emitted")
    with account(plain_chats, 1) as emulator:
        plain = run(PLAIN_TAP, emulator)
    schemas = max((*first.written.schemas.values(), *second.written.schemas.values()))
    largest = max(first.written.largest_state, second.written.largest_state)
    ratio = first.requests / second.requests
    found = Found()
    found.rows = [
        at_least(f"requests of a run that reads {chats:,} chats / of the next hour's, {active} active", 30, ratio),
        at_most(f"largest STATE, {chats:,} chats", 2_047, largest, " bytes"),
        at_most(f"SCHEMA messages of a stream in a run, {chats:,} chats", 1, schemas),
        beside(f"largest STATE, plain tap, {plain_chats:,} chats", plain.written.largest_state, " bytes"),
        beside(f"SCHEMA messages of messages, plain tap, {plain_chats:,} chats", plain.written.schemas["messages"]),
    ]
    found.figures = [
        f"tap, every chat: {_shown(first)}, {_state(first)}",
        f"tap, an hour later: {_shown(second)}, {_state(second)}",
        f"plain tap, {plain_chats:,} chats: {_shown(plain)}, {_state(plain)} (grows with the square of the chats)",
    ]
    return found


def memory(quick: bool) -> Found:
    """Peak memory: with few messages; with very many, in more chats and in longer ones; and before a slow loader."""
    chats, factor, slow_chats = 100, 20 if quick else 100, 200 if quick else 500
    found = Found()
    few = _filled(chats, MESSAGES_PER_PAGE, found)
    for many_chats, per_chat in ((chats * factor, MESSAGES_PER_PAGE), (chats, MESSAGES_PER_PAGE * factor)):
        many = _filled(many_chats, per_chat, found)
        what = f"peak memory, {many.written.messages:,} messages in {many_chats:,} chats"
        found.rows += [
            at_most(f"{what} / {few.written.messages:,} in {chats}", 1.10, many.peak / few.peak),
            at_most(what, 200, many.peak / MEGABYTE, " MB"),
        ]
    slow = _filled(slow_chats, MESSAGES_PER_PAGE, found, SLOW_LOADER)
    what = f"peak memory, {slow.written.messages:,} messages taken at {SLOW_LOADER:,} a second"
    found.rows.append(at_most(f"{what} / {few.written.messages:,} as they come", 1.10, slow.peak / few.peak))
    return found


def _filled(chats: int, per_chat: int, found: Found, rate: int | None = None) -> Run:
    with account(chats, per_chat) as emulator:
        one = run(TAP, emulator, rate=rate)
    _check(one, chats * per_chat)
    taken = f", {rate:,} messages a second taken" if rate else ""
    found.figures.append(f"tap, {chats:,} chats with {per_chat:,} messages each{taken}: {_shown(one)}")
    return one


def _check(one: Run, messages: int) -> None:
    if one.written.messages != messages:
        raise RunError(f"{messages} messages are there, {one.written.messages} were written")


def _shown(one: Run) -> str:
    return (
        f"{one.wall:.2f} s, {one.cpu:.2f} s CPU, {one.peak / MEGABYTE:.0f} MB, {one.requests:,} requests, "
        f"{one.written.messages:,} messages"
    )


def _state(one: Run) -> str:
    written = one.written
    return (
        f"{written.states:,} STATE of together {written.state_size:,} bytes, largest {written.largest_state:,}, "
        f"{sum(written.schemas.values()):,} SCHEMA for {len(written.schemas)} streams"
    )


def _receive(emulator: EmulatorProcess, count: int) -> None:
    """Let a message come in for so many chats, spread over all."""
    cursor = None
    for _ in range(count):
        page = get(emulator, "chats", limit=100, cursor=cursor)
        chat, cursor = page["chats"][-1], page["next_cursor"]
        sender = next(handle["handle"] for handle in chat["handles"] if not handle["is_me"])
        emulator.inbound(sender, "Are you there?", chat_id=chat["id"])


def _describe_message(emulator: EmulatorProcess) -> str:
    chat = get(emulator, "chats", limit=1)["chats"][0]
    message = get(emulator, f"chats/{chat['id']}/messages", limit=1)["messages"][0]
    size = len(json.dumps(message, separators=(",", ":")))
    return f"a message: {size:,} bytes, {len(message)} fields, {_leaves(message)} values with those of its parts"


def _leaves(value: Any) -> int:
    if isinstance(value, dict):
        return sum(_leaves(one) for one in value.values())
    if isinstance(value, list):
        return sum(_leaves(one) for one in value)
    return 1
