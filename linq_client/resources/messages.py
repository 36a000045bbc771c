"""Messages and the files in them."""

from __future__ import annotations

import io
import mimetypes
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Final, Literal

from linq_client import models
from linq_client.errors import APIConnectionError, Effect, InvalidRequestError, RequestKind
from linq_client.listing import Listing
from linq_client.outgoing import (
    MessageLike,
    ReactionType,
    check_line,
    check_recipients,
    check_text,
    message_from,
)
from linq_client.resources.base import Resource, given, path_to

MAX_ATTACHMENT_BYTES: Final = 100 * 1024 * 1024


class Messages(Resource):
    """Messages of a chat. The platform takes them in at once (202) and delivers them later."""

    def send(self, chat_id: str, message: MessageLike, *, override_optout: bool | None = None) -> models.SendResult:
        """Send a message to a chat that exists.

        Args:
            message: if it carries no idempotency key, one is made for this call.
            override_optout: send although the recipient has opted out; the platform records it.

        Raises:
            NotFoundError: no such chat (code 2001), or the message of this idempotency key is gone (2002): it was
                sent, and not again.
        """
        path = path_to("/v3/chats/{}/messages", chat_id=chat_id)
        return self._send(models.SendResult, path, message_from(message), override_optout=override_optout)

    def send_from_any_line(
        self,
        to: str | Sequence[str],
        message: MessageLike,
        *,
        continuation_text: str | None = None,
        exclude_from: Sequence[str] = (),
        override_optout: bool | None = None,
    ) -> models.RoutedSendResult:
        """Send a message from the line that the platform chooses: the one already talking to `to`, or the best.

        Args:
            message: if it carries no idempotency key, one is made for this call. Its first one may hold a link.
            continuation_text: sent in place of `message` where the chat goes on from another line than before.
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
            message_from(message),
            fields,
            override_optout=override_optout,
            key_in_header=True,
        )

    def list(self, chat_id: str, *, limit: int = 100, cursor: str | None = None) -> Listing[models.Message]:
        """List the messages of a chat. The API promises no order.

        Args:
            limit: items a page, 1 to 100.
            cursor: `next_cursor` of a page, to go on behind it; from the front if None.
        """
        path = path_to("/v3/chats/{}/messages", chat_id=chat_id)
        return self._list(models.Message, path, "messages", limit=limit, cursor=cursor)

    def get(self, message_id: str) -> models.Message:
        """Get one message.

        Raises:
            NotFoundError: it never was, was deleted, or has expired (code 2002).
        """
        return self._call(models.Message, "GET", path_to("/v3/messages/{}", message_id=message_id))

    def edit(self, message_id: str, text: str, *, part_index: int = 0) -> models.Message:
        """Change a text part that was sent by iMessage: 5 times at most, within 15 minutes."""
        path = path_to("/v3/messages/{}", message_id=message_id)
        if part_index < 0:
            raise InvalidRequestError(f"part_index: must be 0 or more, got {part_index}")
        body = {"text": check_text(text, "text"), "part_index": part_index}
        return self._call(models.Message, "PATCH", path, json=body, has_text=True)

    def delete(self, message_id: str) -> None:
        """Delete the platform's record of a message. The recipient keeps theirs."""
        self._client.request("DELETE", path_to("/v3/messages/{}", message_id=message_id))

    def thread(
        self, message_id: str, *, order: Literal["asc", "desc"] = "asc", limit: int = 100
    ) -> Listing[models.Message]:
        """List a message and the replies to it.

        Args:
            order: by time, ascending or descending.
            limit: items a page, 1 to 100.
        """
        path = path_to("/v3/messages/{}/thread", message_id=message_id)
        return self._list(models.Message, path, "messages", limit=limit, order=order)

    def react(
        self,
        message_id: str,
        type: ReactionType,
        *,
        operation: Literal["add", "remove"] = "add",
        custom_emoji: str | None = None,
        part_index: int | None = None,
    ) -> models.Accepted:
        """Add a reaction to a part of a message, or take it back.

        Args:
            custom_emoji: the emoji, with type `custom`.
            part_index: from 0; the first part if None.
        """
        if (type == "custom") != (custom_emoji is not None):
            raise InvalidRequestError(f"custom_emoji: goes with type custom alone, got {custom_emoji!r} with {type!r}")
        body = given({"operation": operation, "type": type}, custom_emoji=custom_emoji, part_index=part_index)
        path = path_to("/v3/messages/{}/reactions", message_id=message_id)
        return self._call(models.Accepted, "POST", path, json=body)


class Attachments(Resource):
    """Files to send, and files received."""

    def create(self, filename: str, content_type: str, size_bytes: int) -> models.UploadSlot:
        """Announce a file and get the URL to put its bytes to, valid for 15 minutes (see `upload`).

        Args:
            filename: 1 to 255 characters.
            content_type: MIME type.
            size_bytes: 1 to 104,857,600.
        """
        if not 1 <= len(filename) <= 255:
            raise InvalidRequestError(f"filename: must be 1 to 255 characters, got {len(filename)}")
        if not 1 <= size_bytes <= MAX_ATTACHMENT_BYTES:
            raise InvalidRequestError(f"size_bytes: must be 1 to {MAX_ATTACHMENT_BYTES}, got {size_bytes}")
        body = {"filename": filename, "content_type": content_type, "size_bytes": size_bytes}
        # A second slot does no harm: one that is never filled goes away by itself.
        return self._call(models.UploadSlot, "POST", "/v3/attachments", json=body, kind=RequestKind.READ)

    def upload(
        self, file: bytes | IO[bytes] | Path | str, *, filename: str | None = None, content_type: str | None = None
    ) -> str:
        """Store a file on the platform and return its attachment id, to be sent any number of times.

        Args:
            file: bytes, a seekable binary file, or a path.
            filename: as the recipient sees it; needed unless `file` is a path.
            content_type: MIME type; guessed from the file name if None.
        """
        if isinstance(file, Path | str):
            with Path(file).open("rb") as opened:
                return self.upload(opened, filename=filename or Path(file).name, content_type=content_type)
        if filename is None:
            raise InvalidRequestError("filename: must be given unless the file is a path, got none")
        guessed = content_type or mimetypes.guess_type(filename)[0]
        if guessed is None:
            raise InvalidRequestError(f"content_type: must be given, can't be guessed from filename {filename!r}")
        data = io.BytesIO(file) if isinstance(file, bytes) else file
        slot = self.create(filename, guessed, _size(data))
        self._client.transfer(slot.http_method, slot.upload_url, data=data, headers=slot.required_headers)
        return slot.attachment_id

    def get(self, attachment_id: str) -> models.Attachment:
        """Get what is known of a file, with a fresh `download_url`."""
        path = path_to("/v3/attachments/{}", attachment_id=attachment_id)
        return self._call(models.Attachment, "GET", path)

    def download(self, attachment_id: str, into: IO[bytes], *, max_bytes: int = MAX_ATTACHMENT_BYTES) -> int:
        """Write the bytes of a file to a seekable binary file and return their number.

        Raises:
            NotFoundError: no such attachment, or its bytes are gone.
            InvalidRequestError: it is larger than `max_bytes`.
        """
        url = self.get(attachment_id).download_url
        if url is None:
            raise APIConnectionError(f"attachment {attachment_id}: the API gave no download_url", effect=Effect.NONE)
        return self._client.transfer("GET", url, into=into, max_bytes=max_bytes)

    def delete(self, attachment_id: str) -> None:
        """Delete a file for good; messages that carry it stay."""
        self._client.request("DELETE", path_to("/v3/attachments/{}", attachment_id=attachment_id))


def _size(file: IO[bytes]) -> int:
    position = file.tell()
    size = file.seek(0, os.SEEK_END) - position
    file.seek(position)
    return size
