"""Chats: /v3/chats."""

from __future__ import annotations

from collections.abc import Sequence

from linq_client import _outgoing, models
from linq_client._checks import check_https, check_line, check_recipients, check_sender
from linq_client._pagination import Paginator
from linq_client._response import parse
from linq_client.errors import InvalidRequestError
from linq_client.resources._base import Resource, omit_none, path_to

__all__ = ["Chats"]


class Chats(Resource):
    """Conversations between an own line and other handles."""

    def create(
        self,
        from_: str,
        to: str | Sequence[str],
        message: _outgoing.MessageLike,
        *,
        override_optout: bool | None = None,
    ) -> models.CreatedChat:
        """Send a first message from a line to one handle, or to several as a group (POST /v3/chats).

        The chat of exactly this line and these handles is used again if there is one. Whether there is can't be known
        beforehand, so the rules of a first message (no link, URL, reply or effect) always hold here.

        Args:
            message: if it carries no idempotency key, one is made for this call.
            override_optout: send although the recipient has opted out; the platform records it.
        """
        outgoing = _outgoing.message_from(message)
        outgoing.check_first_in_chat()
        fields = {"from": check_line(from_), "to": check_recipients(to)}
        return self._send(models.CreatedChat, "/v3/chats", outgoing, fields, override_optout=override_optout)

    def list(
        self, *, from_: str | None = None, to: str | None = None, limit: int = 100, cursor: str | None = None
    ) -> Paginator[models.Chat]:
        """List chats, of all lines or of one (GET /v3/chats).

        Args:
            from_: only chats of this line.
            to: only chats with this handle, which may be one that can only be received from, see `check_sender`.
            limit: items a page, 1 to 100.
            cursor: `next_cursor` of a page, to continue after it; from the front if None.
        """
        if from_ is not None:
            check_line(from_)
        if to is not None:
            check_sender(to, "to")
        params = {"from": from_, "to": to, "limit": limit, "cursor": cursor}
        return self._list(lambda: models.Chat, "/v3/chats", "chats", **params)

    def get(self, chat_id: str) -> models.Chat:
        """Get one chat (GET /v3/chats/{id})."""
        return self._call(models.Chat, "GET", path_to("/v3/chats/{}", chat_id=chat_id))

    def update(
        self, chat_id: str, *, display_name: str | None = None, group_chat_icon: str | None = None
    ) -> models.Accepted:
        """Give a group a name or an icon, an https URL (PUT /v3/chats/{id}).

        It happens later; a webhook reports the outcome.

        Raises:
            LastingConflictError: it is a direct chat (code 1006).
        """
        if display_name is None and group_chat_icon is None:
            raise InvalidRequestError("display_name: give it or group_chat_icon, got neither")
        body = omit_none(display_name=display_name, group_chat_icon=group_chat_icon)
        # A name is what people wrote, too.
        return self._call(models.Accepted, "PUT", path_to("/v3/chats/{}", chat_id=chat_id), json=body, has_text=True)

    def leave(self, chat_id: str) -> models.Accepted:
        """Leave an iMessage group of four or more (POST /v3/chats/{id}/leave). Nothing can be sent to it afterwards."""
        return self._call(models.Accepted, "POST", path_to("/v3/chats/{}/leave", chat_id=chat_id))

    def share_contact_card(self, chat_id: str) -> None:
        """Share the line's contact card, once in 5 minutes at most (POST /v3/chats/{id}/share_contact_card)."""
        self._do("POST", path_to("/v3/chats/{}/share_contact_card", chat_id=chat_id))

    def mark_read(self, chat_id: str) -> None:
        """Mark the whole chat as read, without effect in groups (POST /v3/chats/{id}/read)."""
        self._do("POST", path_to("/v3/chats/{}/read", chat_id=chat_id), repeatable=True)

    def send_voice_memo(
        self,
        chat_id: str,
        *,
        voice_memo_url: str | None = None,
        attachment_id: str | None = None,
        override_optout: bool | None = None,
    ) -> models.VoiceMemo:
        """Send an audio file, 10 MB at most, as a voice memo (POST /v3/chats/{id}/voicememo).

        The API takes no idempotency key here, so this call is never retried: after an error whose `effect` is UNKNOWN
        the memo may have been sent.

        Args:
            voice_memo_url: public https URL; excludes `attachment_id`.
        """
        if voice_memo_url is not None:
            check_https(voice_memo_url, "voice_memo_url")
        if (voice_memo_url is None) == (attachment_id is None):
            raise InvalidRequestError(
                f"voice_memo_url: give it or attachment_id, not both, got {voice_memo_url!r} and {attachment_id!r}"
            )
        body = omit_none(voice_memo_url=voice_memo_url, attachment_id=attachment_id, override_optout=override_optout)
        response = self._client.request("POST", path_to("/v3/chats/{}/voicememo", chat_id=chat_id), json=body)
        return parse(models.VoiceMemo, response.body.get("voice_memo"), response)
