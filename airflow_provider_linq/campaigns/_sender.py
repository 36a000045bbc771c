"""The requests of a campaign: each call makes one send, or one look, and returns the event that it came to."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from threading import Lock

from airflow_provider_linq._internal.in_doubt import ChatLookup, Found, Resolution, content_of
from airflow_provider_linq._internal.key_lifetimes import LATE_ACCEPTANCE, LIST_LAG
from airflow_provider_linq._internal.not_after import why_late
from airflow_provider_linq._internal.uploads import FileRules, check_message, names_files, upload, with_uploads
from airflow_provider_linq.campaigns._delivery import progress_of
from airflow_provider_linq.campaigns._model import Recipient
from airflow_provider_linq.campaigns._state import (
    Event,
    LineLost,
    NoAnswer,
    Postponed,
    RateLimited,
    RecipientState,
    Refused,
    Resolved,
    SendJob,
    Sent,
)
from airflow_provider_linq.campaigns._templates import Render
from linq_client import (
    AuthenticationError,
    BlockedError,
    Effect,
    InvalidRequestError,
    LineIneligibleError,
    LineNotPermittedError,
    LinqClient,
    LinqError,
    Message,
    MessageNotFoundError,
    OptedOutError,
    RateLimitedError,
    SettingsError,
)
from linq_client.times import ServerClock, format_datetime

log = logging.getLogger(__name__)


class Sender:
    """
    Makes sends and looks; changes nothing but what it has uploaded.

    :param client: makes the sends; without retries of its own, since the campaign decides what comes next.
    :param reader: makes the uploads.
    :param lookup: makes the looks.
    :param render: makes the message of a row.
    :param clock: the API's; the dispatcher keeps it.
    :param files: which files the messages may name.
    :param not_after: after which no request is begun; None if there is no such moment.
    :param is_known: whether handles are those of another recipient of the campaign.
    """

    def __init__(
        self,
        client: LinqClient,
        reader: LinqClient,
        lookup: ChatLookup,
        render: Render,
        clock: ServerClock,
        *,
        files: FileRules,
        not_after: datetime | None,
        is_known: Callable[[tuple[str, ...]], bool],
    ) -> None:
        self._client = client
        self._reader = reader
        self._lookup = lookup
        self._render = render
        self.clock = clock
        self._files = files
        self._not_after = not_after
        self._is_known = is_known
        self._attachments: dict[str, str] = {}
        self._upload_locks: defaultdict[str, Lock] = defaultdict(Lock)

    @property
    def server_time(self) -> datetime:
        """The API's clock at its latest response, to a send or to a look."""
        known = (self._client.known_server_time, self._reader.known_server_time)
        return max(time for time in known if time is not None)

    def upload_files_of(self, recipient: Recipient) -> None:
        """
        Upload the files of a message before anything is sent: mostly all recipients get the same.

        :raises InvalidRequestError: a file is not there, or not one that can be sent.
        """
        assert recipient.row is not None
        with_uploads(self._render(recipient.row), self._attachment_of)

    def send(self, job: SendJob, exclude: Sequence[str], usable_until: float) -> Event:
        """
        Send the message of a recipient.

        :param exclude: lines that the platform shall not choose.
        :param usable_until: until when the claim may be used, in seconds of `time.time`.
        """
        assert job.recipient.row is not None
        try:
            rendered = self._render(job.recipient.row)
            content = check_message(rendered, self._files)
            built = with_uploads(rendered, self._attachment_of) if names_files(content) else content
        except InvalidRequestError as error:  # it was right before: something in the template has changed its mind
            return Refused(RecipientState.FAILED, detail=str(error), error=error)
        except LinqError as error:  # of an upload
            return self._unanswered(error, is_open=False)
        # Only the key is new, and it is ours: to check all of the message once more would be for nothing.
        message = built.model_copy(update={"idempotency_key": job.key})
        if event := self._recovered(job):
            return event
        # This process may have stood still, and another one taken over meanwhile; and an upload takes its time.
        if time.time() > usable_until or why_late(self._not_after, self.clock.now()):
            return Postponed()
        try:
            return self._sent(job, message, exclude)
        except LinqError as error:
            return self._after(error, job)

    def look(self, job: SendJob) -> Event:
        """Look for the message of a recipient in the chats."""
        assert job.in_doubt_since is not None
        now = self.clock.now()
        try:
            found = self._lookup.resolve(
                job.recipient.to,
                self._content_of(job.recipient),
                line=job.line if job.is_line_certain else None,
                since=job.in_doubt_since,
                as_of=reading_counts_from(job, now),
                is_known=self._is_known,
            )
        except LineNotPermittedError:
            return Resolved(False, now, "The line has left the account, so its chats can't be read")
        except LinqError as error:
            return self._unanswered(error, is_open=False)
        if isinstance(found, Found):
            created_at = format_datetime(found.message.created_at)
            return Sent(found.line, found.chat_id, found.message.id, created_at, job.starts_chat)
        if found is Resolution.UNCLEAR:
            return Resolved(False, now, "The chats do not tell whether it was sent")
        return Resolved(True, now)

    def _recovered(self, job: SendJob) -> Event | None:
        """Return why a failed message is not sent again; None if it and all before it still count as failed."""
        if job.replaces is None:
            return None
        is_group = len(job.recipient.to) > 1
        try:
            progress = progress_of(self._reader, job.replaces.message_id, is_group)
            for earlier in job.failed_before if progress == "failed" else ():
                before = progress_of(self._reader, earlier, is_group)
                if before not in ("failed", "gone"):  # what is gone had failed
                    progress = before
        except LinqError as error:
            return self._unanswered(error, is_open=False)
        if progress == "failed":
            return None
        why = "is gone" if progress == "gone" else "may have been delivered after all, or one before it"
        log.warning("Message %s had failed and %s: nothing takes its place", job.replaces.message_id, why)
        return Refused(RecipientState.FAILED, detail=f"The failed message {why}")

    def _content_of(self, recipient: Recipient) -> tuple[tuple[object, object], ...] | None:
        """Return the content to look for; None if the row does not tell any more."""
        if recipient.row is None:
            return None
        try:
            return content_of(check_message(self._render(recipient.row), self._files).parts)
        except InvalidRequestError:
            return None

    def _sent(self, job: SendJob, message: Message, exclude: Sequence[str]) -> Sent:
        to = job.recipient.to
        if job.line is None:
            routed = self._client.messages.send_from_any_line(to, message, exclude_from=exclude)
            chat_id, line, sent, starts_chat = (
                routed.chat_id,
                routed.from_line,
                routed.message,
                routed.created_new_chat is not False,  # where the response does not say: more chats, and so fewer sends
            )
        else:
            chat = self._client.chats.create(job.line, to, message)
            chat_id, line, sent, starts_chat = chat.id, job.line, chat.message, job.starts_chat
        return Sent(line, chat_id, sent.id, format_datetime(sent.created_at), starts_chat)

    def _after(self, error: LinqError, job: SendJob) -> Event:
        """Read what an error of a send says; it has been decided in the client what is certain after it."""
        if error.effect is Effect.DONE_BEFORE:
            return Sent(None)  # the platform knows the key: the message was sent, and is gone since
        if isinstance(error, MessageNotFoundError):  # the message replied to, or ours: a key that is new can't be gone
            if job.in_doubt_since is None:
                return Refused(RecipientState.FAILED, error.code, str(error), error)
            return Resolved(False, self.clock.now(), "Either the message or the one that it replies to is gone")
        is_open = error.effect is Effect.UNKNOWN
        if isinstance(error, RateLimitedError):
            return RateLimited(error, is_open)
        if is_open or isinstance(error, AuthenticationError | SettingsError):
            return self._unanswered(error, is_open=is_open)
        if isinstance(error, LineIneligibleError | LineNotPermittedError):
            return LineLost(error)
        if isinstance(error, OptedOutError):
            return Refused(RecipientState.OPTED_OUT, error.code, error=error)
        if isinstance(error, BlockedError):
            return Refused(RecipientState.BLOCKED, error.code, error=error)
        if error.permanent:
            return Refused(RecipientState.FAILED, error.code, str(error), error)
        return self._unanswered(error, is_open=False)

    def _unanswered(self, error: LinqError, *, is_open: bool) -> NoAnswer:
        return NoAnswer(error, is_open, self.clock.now())

    def _attachment_of(self, path: str) -> str:
        """Upload a file once, however many messages it is in."""
        with self._upload_locks[path]:
            if path not in self._attachments:
                self._attachments[path] = upload(path, self._reader)
            return self._attachments[path]


def reading_counts_from(job: SendJob, now: datetime) -> datetime:
    """Return from when on a reading of the chats tells as much as one that is made now."""
    assert job.last_request_at is not None
    accepted_until = job.last_request_at + LATE_ACCEPTANCE
    listed_from = job.last_request_at + LIST_LAG
    return accepted_until if accepted_until <= now else max(now - LIST_LAG, min(now, listed_from))
