"""Operators around a chat: voice memos, name and participants, locations, and what an address can receive."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_linq._internal.arguments import check_choice, is_nothing
from airflow_provider_linq._internal.at_most_once import run_at_most_once
from airflow_provider_linq._internal.branching import BranchingOperator
from airflow_provider_linq._internal.fail_fast import fail_fast
from airflow_provider_linq._internal.not_after import NotAfter, check_not_after, latest_moment, why_late
from airflow_provider_linq._internal.once import OnClear
from airflow_provider_linq._internal.operator import LinqOperator
from airflow_provider_linq._internal.uploads import FileRules, upload
from airflow_provider_linq._internal.version_compat import AirflowFailException
from airflow_provider_linq.links.linq import TASK_LINKS, show_links
from airflow_provider_linq.results import (
    CapabilityResult,
    ChatUpdate,
    LocationRequestResult,
    VoiceMemoResult,
)
from linq_client import InvalidRequestError, check_recipients, comparable_handle
from linq_client.times import format_datetime

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = [
    "LinqCheckCapabilityOperator",
    "LinqRequestLocationOperator",
    "LinqSendVoiceMemoOperator",
    "LinqUpdateChatOperator",
]


class LinqSendVoiceMemoOperator(LinqOperator):
    """
    Send an audio file as a voice memo to a chat, at most once.

    The API has no idempotency key for voice memos, so the operator never repeats one: if it does not learn whether a
    memo was sent (no response came, an error of the server, a killed worker), it fails and says so, without using its
    retries. Before Airflow 3.3, where nothing is kept from one try to the next, no try after the first sends. What the
    API refuses was not sent, and is retried where that can help.

    The result is a :class:`~airflow_provider_linq.results.VoiceMemoResult`.

    :param chat_id: the chat to send to (templated)
    :param path: local path or object-store URL of the file, 10 MB at most; it is uploaded first. One that is not
        written as it is in the DAG file has to lie in ``files_under`` (templated)
    :param voice_memo_url: public https URL of the file; excludes ``path`` (templated)
    :param attachment_id: a file uploaded before; excludes ``path`` and ``voice_memo_url`` (templated)
    :param files_under: folder, or list of them, whose files a template or another task may name; by default none.
    :param not_after: when the memo must not be sent any more, as in ``LinqSendMessageOperator`` (templated)
    :param on_clear: what a cleared task does whose memo was, or may have been, sent: "keep" it and return the earlier
        result, or "resend" it.
    :param linq_conn_id: connection of type ``linq`` (templated)
    """

    template_fields: Sequence[str] = (
        "chat_id",
        "path",
        "voice_memo_url",
        "attachment_id",
        "not_after",
        "linq_conn_id",
    )
    operator_extra_links = TASK_LINKS

    def __init__(
        self,
        *,
        chat_id: str,
        path: str | None = None,
        voice_memo_url: str | None = None,
        attachment_id: str | None = None,
        files_under: str | Sequence[str] | None = None,
        not_after: NotAfter | None = None,
        on_clear: OnClear = "keep",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_choice("on_clear", on_clear, OnClear)
        check_not_after(not_after)
        self.chat_id = chat_id
        self.path = path
        self.voice_memo_url = voice_memo_url
        self.attachment_id = attachment_id
        self.files_under = files_under
        self._files = FileRules.of(path, files_under)
        self.not_after = not_after
        self.on_clear = on_clear
        self.note_given()

    def execute(self, context: Context) -> VoiceMemoResult:
        with fail_fast():
            self.check_given()
            not_after = latest_moment(self.not_after, context)
            if self.path is not None:
                self.file_rules("path", self._files).check(self.path, "path")
        show_links(self, context)
        if sum(source is not None for source in (self.path, self.voice_memo_url, self.attachment_id)) != 1:
            raise AirflowFailException("path: give it, voice_memo_url or attachment_id, and only one of them")
        client = self.hook.client

        def prepare() -> str | None:
            return self.attachment_id if self.path is None else upload(self.path, client)

        def send(attachment: str | None) -> VoiceMemoResult:
            memo = client.chats.send_voice_memo(
                self.chat_id, voice_memo_url=self.voice_memo_url, attachment_id=attachment
            )
            return VoiceMemoResult(
                chat_id=self.chat_id,
                message_id=memo.id,
                created_at=format_datetime(memo.created_at),
                delivery_status=memo.status,
                service=memo.service,
            )

        return run_at_most_once(
            context,
            "The voice memo",
            self.chat_id,
            self.on_clear,
            send,
            prepare=prepare,
            is_stopped=lambda: self._is_stopped,
            too_late=lambda: None if not_after is None else why_late(not_after, client.server_time),
        )


class LinqUpdateChatOperator(LinqOperator):
    """
    Bring name, icon and participants of a group chat to what they should be.

    Safe to retry: it reads who is in the chat, adds only who is missing, and removes only who is there. The platform
    accepts the changes and makes them a little later. The result is a
    :class:`~airflow_provider_linq.results.ChatUpdate`.

    :param chat_id: a group chat (templated)
    :param display_name: its name (templated)
    :param group_chat_icon: https URL of its icon (templated)
    :param add: handles that should be in it (templated)
    :param remove: handles that should not be in it; three participants must remain (templated)
    :param linq_conn_id: connection of type ``linq`` (templated)
    """

    template_fields: Sequence[str] = ("chat_id", "display_name", "group_chat_icon", "add", "remove", "linq_conn_id")

    def __init__(
        self,
        *,
        chat_id: str,
        display_name: str | None = None,
        group_chat_icon: str | None = None,
        add: str | Sequence[str] = (),
        remove: str | Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.chat_id = chat_id
        self.display_name = display_name
        self.group_chat_icon = group_chat_icon
        self.add = add
        self.remove = remove
        self.note_given()

    def execute(self, context: Context) -> ChatUpdate:
        with fail_fast():
            self.check_given()
            client = self.hook.client
            add, remove = _handles(self.add, "add"), _handles(self.remove, "remove")
            if not (add or remove or self.display_name is not None or self.group_chat_icon is not None):
                raise InvalidRequestError("display_name: give it, group_chat_icon, add or remove, got none of them")
            if self.display_name is not None and is_nothing(str(self.display_name)):
                raise InvalidRequestError(f"display_name: must be a name, got {self.display_name!r:.20}")
            if both := set(map(comparable_handle, add)) & set(map(comparable_handle, remove)):
                raise InvalidRequestError(f"add: must not name who is to be removed, got {sorted(both)}")
            added, removed = [], []
            inside: dict[str, str] = {}  # as the platform shows them, which may be in another form than they were given
            if add or remove:
                chat = client.chats.get(self.chat_id)
                inside = {
                    comparable_handle(one.handle): one.handle for one in chat.handles if one.status in (None, "active")
                }
                added = [handle for handle in add if comparable_handle(handle) not in inside]
                removed = [handle for handle in remove if comparable_handle(handle) in inside]
            for handle in added:
                client.participants.add(self.chat_id, handle)
            for handle in removed:
                client.participants.remove(self.chat_id, inside[comparable_handle(handle)])
            if self.display_name is not None or self.group_chat_icon is not None:
                client.chats.update(self.chat_id, display_name=self.display_name, group_chat_icon=self.group_chat_icon)
        changes = [f"{field} set" for field in ("display_name", "group_chat_icon") if getattr(self, field) is not None]
        changes += [f"{len(handles)} {done}" for handles, done in ((added, "added"), (removed, "removed")) if handles]
        self.log.info("Chat %s: %s", self.chat_id, ", ".join(changes) or "already as it should be")
        return ChatUpdate(chat_id=self.chat_id, display_name=self.display_name, added=added, removed=removed)


class LinqCheckCapabilityOperator(BranchingOperator):
    """
    Check whether an address can be reached by iMessage or by RCS; as a value, or as a branch.

    The platform allows one check in 10 seconds; the client waits for its turn. The result is a
    :class:`~airflow_provider_linq.results.CapabilityResult`, of which each key is an XCom of its own too. With
    ``if_available`` or ``if_unavailable`` the operator also branches, and skips the other tasks directly downstream. A
    mapped task can't branch.

    :param address: phone number or e-mail address (templated)
    :param service: "iMessage" or "RCS" (phone numbers only) (templated)
    :param from_: own line to check with; by default that of the connection (templated)
    :param if_available: task id, or list of them, to continue with if it can; in a task group with its prefix.
    :param if_unavailable: task id, or list of them, to continue with if it can't.
    :param linq_conn_id: connection of type ``linq`` (templated)
    """

    template_fields: Sequence[str] = ("address", "service", "from_", "linq_conn_id")

    def __init__(
        self,
        *,
        address: str,
        service: Literal["iMessage", "RCS"] = "iMessage",
        from_: str | None = None,
        if_available: str | Sequence[str] | None = None,
        if_unavailable: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.address = address
        self.service = service
        self.from_ = from_
        self.if_available = if_available
        self.if_unavailable = if_unavailable
        if self._branches:
            self.check_branching()
        self.note_given()

    @property
    def _branches(self) -> bool:
        return self.if_available is not None or self.if_unavailable is not None

    def execute(self, context: Context) -> CapabilityResult:
        if self._branches:
            self.check_can_branch(context, self.if_available, self.if_unavailable)
        with fail_fast():
            self.check_given()
            found = self._check()
        self.log.info("Reachable by %s: %s", self.service, found["available"])
        if self._branches:
            self.branch(context, found, self.if_available if found["available"] else self.if_unavailable)
        return found

    def _check(self) -> CapabilityResult:
        capability = self.hook.client.capability
        checks = {"iMessage": capability.check_imessage, "RCS": capability.check_rcs}
        if self.service not in checks:
            raise InvalidRequestError(f"service: must be iMessage or RCS, got {self.service!r}")
        line = self.from_ if self.from_ is not None else self.hook.settings.default_line
        response = checks[self.service](self.address, from_=line)
        return CapabilityResult(
            address=response.address, service=self.service, available=response.available, reason=response.reason
        )


class LinqRequestLocationOperator(LinqOperator):
    """
    Ask the other side of a direct iMessage chat to share its location, at most once.

    They get a request and must agree to it; read it later with ``LinqHook().client.location.get(chat_id)``. As for a
    voice memo, there is no idempotency key, so a request whose outcome is unknown is not repeated. The result is a
    :class:`~airflow_provider_linq.results.LocationRequestResult`.

    :param chat_id: a direct chat (templated)
    :param not_after: when it must not be asked for any more, as in ``LinqSendMessageOperator`` (templated)
    :param on_clear: whether a cleared task asks again: "keep" or "resend".
    :param linq_conn_id: connection of type ``linq`` (templated)
    """

    template_fields: Sequence[str] = ("chat_id", "not_after", "linq_conn_id")

    def __init__(
        self, *, chat_id: str, not_after: NotAfter | None = None, on_clear: OnClear = "keep", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_choice("on_clear", on_clear, OnClear)
        check_not_after(not_after)
        self.chat_id = chat_id
        self.not_after = not_after
        self.on_clear = on_clear
        self.note_given()

    def execute(self, context: Context) -> LocationRequestResult:
        with fail_fast():
            self.check_given()
            not_after = latest_moment(self.not_after, context)
        client = self.hook.client

        def ask(_: None) -> LocationRequestResult:
            accepted = client.location.request(self.chat_id)
            return LocationRequestResult(
                chat_id=self.chat_id, requested_at=format_datetime(client.server_time), trace_id=accepted.trace_id
            )

        return run_at_most_once(
            context,
            "The request",
            self.chat_id,
            self.on_clear,
            ask,
            prepare=lambda: None,
            is_stopped=lambda: self._is_stopped,
            too_late=lambda: None if not_after is None else why_late(not_after, client.server_time),
        )


def _handles(value: str | Sequence[str] | None, field: str) -> list[str]:
    """Return the handles of an argument, each person once; None is nobody."""
    if value is None or (isinstance(value, Collection) and not isinstance(value, str) and not value):
        return []
    people: dict[str, str] = {}
    for handle in check_recipients(value, field):
        people.setdefault(comparable_handle(handle), handle)
    return list(people.values())
