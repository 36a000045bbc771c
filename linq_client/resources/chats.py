"""Chats, and what belongs to one: participants, the typing indicator, locations."""

from __future__ import annotations

from collections.abc import Sequence

from linq_client import models
from linq_client.errors import APIConnectionError, Effect, InvalidRequestError
from linq_client.listing import Listing, Page
from linq_client.outgoing import (
    MessageLike,
    check_handle,
    check_https,
    check_line,
    check_recipients,
    message_from,
)
from linq_client.resources.base import Resource, given, parse, path_to


class Chats(Resource):
    """Conversations between an own line and other handles."""

    def create(
        self, from_: str, to: str | Sequence[str], message: MessageLike, *, override_optout: bool | None = None
    ) -> models.CreatedChat:
        """Send a first message from a line to one handle, or to several as a group.

        The chat of exactly this line and these handles is used again if there is one. Whether there is can't be known
        beforehand, so the rules of a first message (no link, URL, reply or effect) always hold here.

        Args:
            message: if it carries no idempotency key, one is made for this call.
            override_optout: send although the recipient has opted out; the platform records it.
        """
        outgoing = message_from(message)
        outgoing.check_first_in_chat()
        fields = {"from": check_line(from_), "to": check_recipients(to)}
        return self._send(models.CreatedChat, "/v3/chats", outgoing, fields, override_optout=override_optout)

    def list(
        self, *, from_: str | None = None, to: str | None = None, limit: int = 100, cursor: str | None = None
    ) -> Listing[models.Chat]:
        """List chats, of all lines or of one.

        Args:
            from_: only chats of this line.
            to: only chats with this handle.
            limit: items a page, 1 to 100.
            cursor: `next_cursor` of a page, to go on behind it; from the front if None.
        """
        if from_ is not None:
            check_line(from_)
        if to is not None:
            check_handle(to, "to")
        params = {"from": from_, "to": to, "limit": limit, "cursor": cursor}
        return self._list(models.Chat, "/v3/chats", "chats", **params)

    def get(self, chat_id: str) -> models.Chat:
        """Get one chat."""
        return self._call(models.Chat, "GET", path_to("/v3/chats/{}", chat_id=chat_id))

    def update(
        self, chat_id: str, *, display_name: str | None = None, group_chat_icon: str | None = None
    ) -> models.Accepted:
        """Give a group a name or an icon (https URL). It happens later; a webhook tells the outcome.

        Raises:
            ConflictError: it is a direct chat (code 1006).
        """
        if display_name is None and group_chat_icon is None:
            raise InvalidRequestError("display_name: give it or group_chat_icon, got neither")
        body = given({}, display_name=display_name, group_chat_icon=group_chat_icon)
        return self._call(models.Accepted, "PUT", path_to("/v3/chats/{}", chat_id=chat_id), json=body)

    def leave(self, chat_id: str) -> models.Accepted:
        """Leave an iMessage group of four or more; nothing can be sent to it afterwards."""
        return self._call(models.Accepted, "POST", path_to("/v3/chats/{}/leave", chat_id=chat_id))

    def share_contact_card(self, chat_id: str) -> None:
        """Share the line's contact card, once in 5 minutes at most."""
        self._client.request("POST", path_to("/v3/chats/{}/share_contact_card", chat_id=chat_id))

    def mark_read(self, chat_id: str) -> None:
        """Mark the whole chat as read (without effect in groups)."""
        self._client.request("POST", path_to("/v3/chats/{}/read", chat_id=chat_id), repeatable=True)

    def send_voice_memo(
        self,
        chat_id: str,
        *,
        voice_memo_url: str | None = None,
        attachment_id: str | None = None,
        override_optout: bool | None = None,
    ) -> models.VoiceMemo:
        """Send an audio file (10 MB at most) as a voice memo.

        The API takes no idempotency key here, so this call is never retried: after an `APIConnectionError` the memo
        may have been sent.

        Args:
            voice_memo_url: public https URL; excludes `attachment_id`.
        """
        if voice_memo_url is not None:
            check_https(voice_memo_url, "voice_memo_url")
        if (voice_memo_url is None) == (attachment_id is None):
            raise InvalidRequestError(
                f"voice_memo_url: give it or attachment_id, not both, got {voice_memo_url!r} and {attachment_id!r}"
            )
        body = given({}, voice_memo_url=voice_memo_url, attachment_id=attachment_id, override_optout=override_optout)
        reply = self._client.request("POST", path_to("/v3/chats/{}/voicememo", chat_id=chat_id), json=body)
        return parse(models.VoiceMemo, reply.body.get("voice_memo"), reply)


class Participants(Resource):
    """Members of a group chat; three or more must remain."""

    def add(self, chat_id: str, handle: str) -> models.Accepted:
        """Add a handle of the same service to a group. It happens later; a webhook tells the outcome."""
        return self._change("POST", chat_id, handle)

    def remove(self, chat_id: str, handle: str) -> models.Accepted:
        """Remove a handle from a group. It happens later; a webhook tells the outcome."""
        return self._change("DELETE", chat_id, handle)

    def _change(self, method: str, chat_id: str, handle: str) -> models.Accepted:
        path = path_to("/v3/chats/{}/participants", chat_id=chat_id)
        return self._call(models.Accepted, method, path, json={"handle": check_handle(handle)})


class Typing(Resource):
    """The typing indicator: shown for 85 to 90 seconds, cleared by a send; without effect on RCS and SMS."""

    def start(self, chat_id: str) -> None:
        """Show it; repeat every 60 seconds to keep it."""
        self._client.request("POST", path_to("/v3/chats/{}/typing", chat_id=chat_id), repeatable=True)

    def stop(self, chat_id: str) -> None:
        """Hide it."""
        self._client.request("DELETE", path_to("/v3/chats/{}/typing", chat_id=chat_id))


class LocationSharing(Resource):
    """Where the participants of a chat are, as far as they share it (iMessage only)."""

    def request(self, chat_id: str) -> models.Accepted:
        """Ask the other side of a direct iMessage chat to share its location; it must accept on its device.

        Raises:
            ConflictError: a group (2016), another service (2017), or it shares already.
        """
        path = path_to("/v3/chats/{}/location/request", chat_id=chat_id)
        return self._call(models.Accepted, "POST", path)

    def get(self, chat_id: str) -> list[models.Location]:
        """Return the location of each participant who shares it."""
        return [parse(models.Location, feature) for feature in self.features(chat_id).items]

    def features(self, chat_id: str) -> Page:
        """Return the location of each participant who shares it, as the GeoJSON features that the API answers."""
        path = path_to("/v3/chats/{}/location", chat_id=chat_id)
        reply = self._client.request("GET", path, headers={"Accept": "application/geo+json"})
        data = reply.body.get("data")
        features = data.get("features") if isinstance(data, dict) else None
        if not isinstance(features, list):
            message = f"GET {path}: the answer has no features"
            raise APIConnectionError(message, status=reply.status, effect=Effect.NONE)
        return Page(features, None, reply.server_time)

    def stop(self, chat_id: str, handle: str) -> models.Accepted:
        """End what a handle shares with this account, in every chat."""
        path = path_to("/v3/chats/{}/location", chat_id=chat_id)
        return self._call(models.Accepted, "DELETE", path, json={"handle": check_handle(handle)})
