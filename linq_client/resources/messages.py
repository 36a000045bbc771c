"""Messages: /v3/messages and /v3/chats/{id}/messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from linq_client import _outgoing, models
from linq_client._checks import check_choice, check_https, check_index, check_line, check_recipients, check_text
from linq_client._pagination import Paginator
from linq_client.errors import Effect, InvalidRequestError, MessageNotFoundError
from linq_client.resources._base import M, Resource, omit_none, path_to

__all__ = ["Messages"]


class Messages(Resource):
    """Messages of a chat. The platform takes them in immediately (202) and delivers them later."""

    def send(
        self, chat_id: str, message: _outgoing.MessageLike, *, override_optout: bool | None = None
    ) -> models.SendResult:
        """Send a message to a chat that exists (POST /v3/chats/{id}/messages).

        Args:
            message: if it carries no idempotency key, one is made for this call.
            override_optout: send although the recipient has opted out; the platform records it.

        Raises:
            ChatNotFoundError: no such chat.
            MessageNotFoundError: the message of this idempotency key is gone (`effect` is DONE_BEFORE): it was sent,
                and not again. Of a reply, it may be about the message replied to.
        """
        path = path_to("/v3/chats/{}/messages", chat_id=chat_id)
        return self._send(models.SendResult, path, _outgoing.message_from(message), override_optout=override_optout)

    def send_from_any_line(
        self,
        to: str | Sequence[str],
        message: _outgoing.MessageLike,
        *,
        continuation_text: str | None = None,
        exclude_from: Sequence[str] = (),
        override_optout: bool | None = None,
    ) -> models.RoutedSendResult:
        """Send a message from the line that the platform chooses: the one already talking to `to`, or the best.

        POST /v3/messages.

        Args:
            message: if it carries no idempotency key, one is made for this call. Its first one may hold a link.
            continuation_text: sent in place of `message` where the chat continues on another line than before.
            exclude_from: lines not to use.
            override_optout: send although the recipient has opted out; the platform records it.
        """
        fields: dict[str, Any] = {"to": check_recipients(to)}
        if continuation_text is not None:
            fields["continuation_message"] = {"text": check_text(continuation_text, "continuation_text")}
        if exclude_from:
            fields["exclude_from"] = [check_line(line, "exclude_from") for line in exclude_from]
        return self._send(
            models.RoutedSendResult,
            "/v3/messages",
            _outgoing.message_from(message),
            fields,
            override_optout=override_optout,
            key_in_header=True,
        )

    def list(self, chat_id: str, *, limit: int = 100, cursor: str | None = None) -> Paginator[models.Message]:
        """List the messages of a chat (GET /v3/chats/{id}/messages). The API promises no order.

        Args:
            limit: items a page, 1 to 100.
            cursor: `next_cursor` of a page, to continue after it; from the front if None.
        """
        path = path_to("/v3/chats/{}/messages", chat_id=chat_id)
        return self._list(lambda: models.Message, path, "messages", limit=limit, cursor=cursor)

    def get(self, message_id: str) -> models.Message:
        """Get one message (GET /v3/messages/{id}).

        Raises:
            MessageNotFoundError: it never was, was deleted, or has expired.
        """
        return self._call(models.Message, "GET", path_to("/v3/messages/{}", message_id=message_id))

    def edit(self, message_id: str, text: str, *, part_index: int = 0) -> models.Message:
        """Change a text part sent by iMessage: 5 times at most, within 15 minutes (PATCH /v3/messages/{id}).

        Raises:
            MessageNotFoundError: it never was, was deleted, or has expired.
        """
        path = path_to("/v3/messages/{}", message_id=message_id)
        body = {"text": check_text(text, "text"), "part_index": check_index(part_index, "part_index")}
        return self._change(models.Message, "PATCH", path, json=body, has_text=True)

    def delete(self, message_id: str) -> None:
        """Delete the platform's record of a message (DELETE /v3/messages/{id}). The recipient keeps theirs."""
        self._do("DELETE", path_to("/v3/messages/{}", message_id=message_id))

    def thread(
        self, message_id: str, *, order: Literal["asc", "desc"] = "asc", limit: int = 100, cursor: str | None = None
    ) -> Paginator[models.Message]:
        """List a message and the replies to it (GET /v3/messages/{id}/thread).

        Args:
            order: by time, ascending or descending.
            limit: items a page, 1 to 100.
            cursor: `next_cursor` of a page, to continue after it; from the front if None.
        """
        path = path_to("/v3/messages/{}/thread", message_id=message_id)
        return self._list(lambda: models.Message, path, "messages", limit=limit, cursor=cursor, order=order)

    def react(
        self,
        message_id: str,
        type: _outgoing.ReactionType,
        *,
        operation: Literal["add", "remove"] = "add",
        custom_emoji: str | None = None,
        part_index: int | None = None,
        emoji: str | None = None,
        url: str | None = None,
        attachment_id: str | None = None,
        placement: _outgoing.Placement | None = None,
    ) -> models.Accepted:
        """Add a reaction to a part of a message, or take it back (POST /v3/messages/{id}/reactions).

        A sticker (iMessage only) is put onto the message and can't be taken back, only moved: see `move_sticker`.

        Args:
            custom_emoji: the emoji, with type `custom`.
            part_index: from 0; the first part if None.
            emoji: the emoji that is the sticker; excludes `url` and `attachment_id`.
            url: of the image of the sticker: `download_url` of an attachment.
            attachment_id: of the image of the sticker, see `LinqClient.attachments.upload`.
            placement: of a sticker; in the middle if None.

        Raises:
            MessageNotFoundError: it never was, was deleted, or has expired.
        """
        check_choice(type, get_args(_outgoing.ReactionType), "type")
        check_choice(operation, ("add", "remove"), "operation")
        if (type == "custom") != (custom_emoji is not None):
            raise InvalidRequestError(f"custom_emoji: goes with type custom alone, got {custom_emoji!r} with {type!r}")
        sticker = omit_none(emoji=emoji, url=url, attachment_id=attachment_id)
        if len(sticker) != (type == "sticker"):
            rule = "give one of emoji, url and attachment_id with type sticker, and none of them otherwise"
            raise InvalidRequestError(f"emoji: {rule}, got {sorted(sticker)} with {type!r}")
        if type == "sticker" and operation == "remove":
            raise InvalidRequestError("operation: a sticker can't be removed, got remove")
        if placement is not None and type != "sticker":
            raise InvalidRequestError(f"placement: goes with type sticker alone, got it with {type!r}")
        if url is not None:
            check_https(url, "url")
        optional = omit_none(
            custom_emoji=custom_emoji,
            part_index=None if part_index is None else check_index(part_index, "part_index"),
            placement=None if placement is None else placement.to_wire(),
        )
        body = {"operation": operation, "type": type, **optional, **sticker}
        path = path_to("/v3/messages/{}/reactions", message_id=message_id)
        return self._change(models.Accepted, "POST", path, json=body)

    def move_sticker(self, message_id: str, reaction_id: str, placement: _outgoing.Placement) -> models.Accepted:
        """Move, resize or turn a sticker on a message (PATCH /v3/messages/{id}/reactions/{reaction_id}).

        Args:
            reaction_id: `id` of the reaction, or `reaction_id` of its event.
            placement: what is None stays as it is.

        Raises:
            NotFoundError: there is no such sticker, or it is one from before the API could move them.
        """
        path = path_to("/v3/messages/{}/reactions/{}", message_id=message_id, reaction_id=reaction_id)
        body = {"placement": placement.to_wire()}
        return self._change(models.Accepted, "PATCH", path, json=body, repeatable=True)

    def update_card(
        self,
        message_id: str,
        layout: _outgoing.CardLayout | Mapping[str, Any],
        *,
        url: str | None = None,
        fallback_text: str | None = None,
        interactive: bool | None = None,
        app: _outgoing.CardApp | Mapping[str, Any] | None = None,
        experience: _outgoing.Experience | Mapping[str, Any] | None = None,
    ) -> models.CardUpdate:
        """Replace what a card of your own shows (POST /v3/messages/{id}/update).

        It is a new message, delivered as such; the next update has to name that one. The API takes no idempotency key
        here, so this call is never retried: after an error whose `effect` is UNKNOWN the card may have been replaced.

        Args:
            message_id: of the card, or of its latest update.
            layout: what it shows from now on.
            url: what the app opens; excludes `experience`.
            fallback_text: for notifications and the lock screen; the caption if None.
            interactive: True if None, whatever it was before.
            app: stays what it was, whatever is given.
            experience: the action that makes the card.

        Raises:
            ConflictError: the card is not sent yet: try again after its message.sent.
            InvalidRequestError: the message is no card that was sent from here.
        """
        given = omit_none(url=url, fallback_text=fallback_text, interactive=interactive, app=app, experience=experience)
        body = _outgoing.CardChange(layout=layout, **given).model_dump(mode="json", exclude_none=True)
        path = path_to("/v3/messages/{}/update", message_id=message_id)
        return self._change(models.CardUpdate, "POST", path, json=body, has_text=True)

    def _change(self, model: type[M], method: str, path: str, **request: Any) -> M:
        """Send a change of a message; `request` as `LinqClient.request` takes it."""
        response = self._client.request(method, path, **request)
        if not response.is_empty:
            return response.parse(model)
        # Seen on the live API of an edit; the reference has 404 instead.
        deleted = MessageNotFoundError(
            f"{method} {path}: the message is deleted, since the API did nothing and gave no body (HTTP 204)",
            status=response.status,
            trace_id=response.trace_id,
            effect=Effect.NONE,
        )
        deleted.verdict = response.trace_id is not None  # as on each response of the API
        raise deleted
