"""Polls: /v3/chats/{id}/polls and /v3/messages/{id}/poll."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from linq_client import models
from linq_client._checks import check_choice, check_key, check_text
from linq_client.errors import InvalidRequestError
from linq_client.resources._base import Resource, omit_none, path_to

__all__ = ["Polls"]


class Polls(Resource):
    """Polls in iMessage chats. A poll has no title: what it is about is a message of its own."""

    def create(self, chat_id: str, options: Sequence[str], *, idempotency_key: str | None = None) -> models.CreatedPoll:
        """Send a poll to a chat that exists (POST /v3/chats/{id}/polls). It can't be the first message of a chat.

        Args:
            options: two texts or more. They can be added to later, never changed or removed.
            idempotency_key: the API sends one poll for a key, however often it is asked; made for this call if None.

        Raises:
            ChatNotFoundError: no such chat.
            MessageNotFoundError: the poll of this idempotency key is gone (`effect` is DONE_BEFORE): it was sent, and
                not again.
        """
        if idempotency_key is not None:
            check_key(idempotency_key)
        poll = {"options": _checked_options(options, least=2), **omit_none(idempotency_key=idempotency_key)}
        path = path_to("/v3/chats/{}/polls", chat_id=chat_id)
        return self._send_keyed(models.CreatedPoll, path, {"poll": poll}, "poll")

    def get(self, message_id: str) -> models.PollMessage:
        """Get a poll and the votes so far (GET /v3/messages/{id}/poll)."""
        return self._call(models.PollMessage, "GET", path_to("/v3/messages/{}/poll", message_id=message_id))

    def add_options(self, message_id: str, options: Sequence[str]) -> models.PollMessage:
        """Add options to a poll (POST /v3/messages/{id}/poll/options).

        The API takes no idempotency key here, so this call is never retried.

        Args:
            options: one text or more. On a line that keeps nothing, all options that there are, in the order in which
                they were added, and then the new ones.
        """
        path = path_to("/v3/messages/{}/poll/options", message_id=message_id)
        body = {"options": _checked_options(options, least=1)}
        return self._call(models.PollMessage, "POST", path, json=body, has_text=True)

    def vote(
        self, message_id: str, option_id: str, *, operation: Literal["add", "remove"] = "add"
    ) -> models.PollMessage:
        """Vote for an option with the own line, or take that back (POST /v3/messages/{id}/poll/votes)."""
        if not isinstance(option_id, str) or not option_id:
            raise InvalidRequestError(f"option_id: must be an id, got {option_id!r}"[:200])
        path = path_to("/v3/messages/{}/poll/votes", message_id=message_id)
        body = {"operation": check_choice(operation, ("add", "remove"), "operation"), "option_id": option_id}
        return self._call(models.PollMessage, "POST", path, json=body)


def _checked_options(texts: Sequence[str], *, least: int) -> list[dict[str, Any]]:
    if isinstance(texts, str) or not isinstance(texts, Sequence) or len(texts) < least:
        got = type(texts).__name__ if isinstance(texts, str) or not isinstance(texts, Sequence) else len(texts)
        raise InvalidRequestError(f"options: must be a list of {least} texts or more, got {got}")
    return [{"text": check_text(text, f"options[{index}]")} for index, text in enumerate(texts)]
