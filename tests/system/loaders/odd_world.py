"""An account of odd records among good ones, for one run of the tap."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.support.hostile_api import (
    Chat,
    HostileAPI,
    chat_row,
    handle_row,
    line_row,
    location_row,
    message_row,
    subscription_row,
    text_part,
)
from tests.system.loaders.odd_records import MISSING, Case, Place


def spoilt(record: Any, path: Place, value: Any) -> Any:
    """A copy of a record with a value in its place; a list grows by it."""
    if not path:
        return value
    record = copy.deepcopy(record)
    place = record
    for step in path[:-1]:
        place = place[step]
    if isinstance(place, list) and path[-1] == len(place):
        place.append(value)
    elif value is MISSING:
        place.pop(path[-1], None)
    else:
        place[path[-1]] = value
    return record


#: So many odd messages, participants or locations share a chat, and so the pages.
TOGETHER = 20


def tag(number: int) -> str:
    """What stands in the ids of a case."""
    return f"case{number:05d}x"


def _own_line(number: int) -> str:
    return f"+1{203 + number // 100}55501{number % 100:02}"


@dataclass
class World:
    """An account of odd records among good ones.

    Attributes:
        good: the odd record of each case, as it was before.
        expected: keys of the rows that are good whatever the odd ones become, by stream.
    """

    api: HostileAPI = field(default_factory=HostileAPI)
    good: dict[Case, Any] = field(default_factory=dict)
    expected: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def add_chat(self, name: str) -> Chat:
        """Add a good chat with two good messages, between which the odd ones come."""
        chat = Chat(name, chat_row(name))
        for place, minutes in (("before", 12), ("after", 8)):
            row = message_row(f"{name}-{place}", name, minutes, parts=[text_part(f"{place} it")])
            chat.messages.insert(0, row)
            self.expected["messages"].add(row["id"])
        self.expected["chats"].add(name)
        self.api.chats.append(chat)
        return chat

    def add(self, number: int, case: Case) -> None:
        name = tag(number)
        good: Any
        if case.stream == "chats":
            chat = self.add_chat(name)
            good, chat.row = chat.row, spoilt(chat.row, case.path, case.value)
            if case.row != "yes":  # what has no id of its own can't be asked for its messages
                self.expected["chats"].discard(name)
                self.expected["messages"] -= {row["id"] for row in chat.messages}
        elif case.stream == "phone_numbers":
            good = line_row(_own_line(number), id=name)
            # Before the line that has the messages, so that the many STATEs of these are small.
            self.api.lines.insert(0, spoilt(good, case.path, case.value))
        elif case.stream == "webhook_subscriptions":
            good = subscription_row(name)
            self.api.subscriptions.append(spoilt(good, case.path, case.value))
        else:
            chat = self.api.chats[-1]
            if case.stream == "messages":
                # Files and reactions have rows of their own, which only odd parts need.
                parts: dict[str, Any] = {} if case.path[:1] == ("parts",) else {"parts": [text_part("good")]}
                good = message_row(f"{name}-odd", chat.id, **parts)
                chat.messages.insert(1, spoilt(good, case.path, case.value))
            elif case.stream == "chat_participants":
                good = handle_row(f"{name}@example.com")
                chat.row["handles"].insert(1, spoilt(good, case.path, case.value))
            else:
                good = location_row(f"{name}@example.com")
                chat.locations.append(spoilt(good, case.path, case.value))
        self.good[case] = good


def build(cases: Iterable[Case]) -> World:
    """Make an account of these cases."""
    world = World()
    world.api.subscriptions.append(subscription_row("a-good-one"))
    world.expected["webhook_subscriptions"].add("a-good-one")
    by_stream: dict[str, list[tuple[int, Case]]] = defaultdict(list)
    for number, case in enumerate(cases):
        by_stream[case.stream].append((number, case))
    for stream, numbered in by_stream.items():
        for start in range(0, len(numbered), TOGETHER):
            world.add_chat(f"{stream}-{start:05d}")
            for number, case in numbered[start : start + TOGETHER]:
                world.add(number, case)
    return world
