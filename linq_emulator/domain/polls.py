"""Polls: their options, which are only ever added, and the votes on them.

Rules: linq-python 0.65.0 ``resources/chats/polls.py`` and ``resources/messages/poll.py``.
"""

from __future__ import annotations

from typing import Any

from linq_emulator.backend import Backend
from linq_emulator.domain import poll_events, validate
from linq_emulator.domain.content import MAX_TEXT
from linq_emulator.domain.models import Draft, Message, Part, Participant, Poll, PollOption
from linq_emulator.errors import ApiError

__all__ = ["MIN_OPTIONS", "add_options", "find_option", "new_draft", "option_texts", "texts_to_add", "vote"]

MIN_OPTIONS = 2


def option_texts(raw_options: list[Any], prefix: str = "") -> list[str]:
    """The texts of the `options` of a request.

    Raises:
        ApiError: 1001, 1003 or 1004.
    """
    texts = []
    for index, raw in enumerate(raw_options):
        name = f"{prefix}options[{index}]"
        if not isinstance(raw, dict):
            raise ApiError(1003, f"{name} must be an object")
        text = validate.required(raw, "text", str, f"{name}.")
        texts.append(validate.non_empty_text(text, f"{name}.text", MAX_TEXT))
    return texts


def new_draft(backend: Backend, creator: Participant, texts: list[str]) -> Draft:
    """A poll that is not sent yet.

    Raises:
        ApiError: 1004 if it has too few options.
    """
    if len(texts) < MIN_OPTIONS:
        raise ApiError(1004, f"a poll needs {MIN_OPTIONS} options")
    return Draft([Part("poll")], poll=Poll(_new_options(backend, creator, texts)))


def _new_options(backend: Backend, creator: Participant, texts: list[str]) -> list[PollOption]:
    return [PollOption(backend.store.new_id(), text, creator) for text in texts]


def texts_to_add(message: Message, poll: Poll, texts: list[str]) -> list[str]:
    """Which of the texts of a request are new.

    A line that keeps nothing has to be given the text of every option again, the existing ones first.

    Raises:
        ApiError: 1004 if there is no new one, or an existing one is missing.
    """
    if message.zero_retention:
        existing = [option.text for option in poll.options]
        if texts[: len(existing)] != existing:
            raise ApiError(1004, "options must begin with every existing option: this line keeps no texts")
        texts = texts[len(existing) :]
    if not texts:
        raise ApiError(1004, "options must hold a new option")
    return texts


def add_options(backend: Backend, message: Message, poll: Poll, creator: Participant, texts: list[str]) -> None:
    """Add options, and emit poll.updated."""
    added = _new_options(backend, creator, texts)
    poll.options += added
    _changed(backend, message)
    poll_events.emit_options_added(backend, message, added)


def find_option(poll: Poll, option_id: str) -> PollOption:
    """The option of an id; 1005 if the poll has none."""
    option = next((option for option in poll.options if option.id == option_id), None)
    if option is None:
        raise ApiError(1005, "option_id is not an option of this poll")
    return option


def vote(backend: Backend, message: Message, option: PollOption, voter: Participant, *, adds: bool) -> None:
    """Add or remove one vote, and emit poll.vote.added or poll.vote.removed; nothing happens if it is so already."""
    if (voter.handle in option.votes) == adds:
        return
    if adds:
        option.votes[voter.handle] = backend.now()
    else:
        del option.votes[voter.handle]
    _changed(backend, message)
    poll_events.emit_vote(backend, message, option, voter, added=adds)


def _changed(backend: Backend, message: Message) -> None:
    if backend.switches.poll_moves_message:
        message.updated_at, message.encoded = backend.now(), None
