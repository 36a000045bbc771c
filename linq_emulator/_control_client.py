"""A running emulator as tests see it: its address and its control API."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from http.client import HTTPConnection
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit

from msgspec import UNSET, UnsetType

from linq_emulator.domain.models import ChatHealth, Reputation, Service
from linq_emulator.faults import FaultBody, FaultClock, FaultKind, FaultTime

__all__ = ["ControlError", "Emulator"]

# A seed of a million messages takes about a minute.
_TIMEOUT_SECONDS = 120
_POLL_SECONDS = 0.01


class ControlError(Exception):
    """A command that the emulator refused.

    Args:
        status: HTTP status.
        field: The field that is wrong.
        rule: The rule that it breaks.
    """

    def __init__(self, status: int, field: str, rule: str) -> None:
        self.status, self.field, self.rule = status, field, rule
        super().__init__(f"{field}: {rule} ({status})")


class Emulator:
    """A running emulator. docs/reference/emulator.md describes its commands, their fields and results.

    Every command is a request of its own. Threads may share an object.

    Args:
        base_url: What a client of the API takes; it ends before ``/v3``.
        api_key: The bearer key that it accepts.
        lines: Its own numbers.
        opted_out: Handles that had opted out at the start.
        token: The token that it was started with, if it was.
        inbox: URL of its page; None if it serves none.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        lines: Sequence[str],
        opted_out: Sequence[str] = (),
        token: str | None = None,
        inbox: str | None = None,
    ) -> None:
        self.base_url = base_url
        self.api_key = api_key
        self.lines = list(lines)
        self.opted_out = list(opted_out)
        self.inbox = inbox
        self._token = token

    def control(self, method: str, path: str, body: object = None, **query: object) -> Any:
        """Call ``/_emulator/<path>`` and return the JSON of the response.

        Raises:
            ControlError: The emulator refused the command.
        """
        return json.loads(self._request(method, path, body, query))

    # --- clock, switches, reset ---

    def now(self) -> datetime:
        """The virtual time."""
        return datetime.fromisoformat(self.control("GET", "clock")["now"].replace("Z", "+00:00"))

    def advance(self, seconds: float = 0, *, minutes: float = 0, hours: float = 0, days: float = 0) -> None:
        """Move the clock forward by the sum of the arguments, and run everything that becomes due."""
        self.set_clock(advance=seconds + 60 * (minutes + 60 * (hours + 24 * days)))

    def set_clock(
        self,
        *,
        freeze: bool | None = None,
        now: datetime | str | None = None,
        advance: float | None = None,
        speed: float | None = None,
    ) -> dict[str, Any]:
        """Freeze, set, advance or speed up the clock, and return its state."""
        fields = _present(freeze=freeze, now=_time(now), advance=advance, speed=speed)
        return self._command("POST", "clock", fields)

    def switches(self) -> dict[str, Any]:
        """The value of every switch."""
        return self._command("GET", "switches")

    def set_switches(self, **values: object) -> dict[str, Any]:
        """Set switches, all or none, and return the value of every switch."""
        return self._command("PATCH", "switches", values)

    def reset(self) -> None:
        """Return to the state of the start, except for the time."""
        self.control("POST", "reset")

    # --- what happens on the platform ---

    def seed(
        self,
        chats: int,
        *,
        messages: int | None = None,
        messages_per_chat: int | None = None,
        lines: int | Sequence[str] | None = None,
        hours: float | None = None,
        inbound_share: float | None = None,
        groups_share: float | None = None,
        text_bytes: int | None = None,
        seed: int | None = None,
        warm: bool = False,
    ) -> dict[str, Any]:
        """Make chats with messages, either so many in all or so many in each chat."""
        fields = _present(
            chats=chats,
            messages=messages,
            messages_per_chat=messages_per_chat,
            lines=lines if lines is None or isinstance(lines, int) else list(lines),
            hours=hours,
            inbound_share=inbound_share,
            groups_share=groups_share,
            text_bytes=text_bytes,
            seed=seed,
            warm=warm,
        )
        return self._command("POST", "seed", fields)

    def inbound(
        self,
        sender: str,
        text: str | None = None,
        *,
        line: str | None = None,
        chat_id: str | None = None,
        parts: Sequence[Mapping[str, Any]] | None = None,
        service: Service | None = None,
        reply_to: str | None = None,
        sent_at: datetime | str | None = None,
        reconciled: bool = False,
    ) -> dict[str, Any]:
        """Let a contact write, in a chat or to a line; the first line if neither is given.

        Returns:
            The message, or ``{"dropped": True}`` if the sender is blocked.
        """
        if line is None and chat_id is None:
            line = self.lines[0]
        fields = _present(
            line=line,
            chat_id=chat_id,
            text=text,
            parts=parts,
            service=service,
            reply_to=reply_to,
            sent_at=_time(sent_at),
            reconciled=reconciled,
        )
        return self._command("POST", "inbound", {"from": sender, **fields})

    def add_file(self, filename: str, content_type: str, content: bytes) -> str:
        """Store a file of a contact, and return the `attachment_id` by which a part of its message names it."""
        fields = {
            "filename": filename,
            "content_type": content_type,
            "content": base64.b64encode(content).decode(),
        }
        return str(self._command("POST", "files", fields)["attachment_id"])

    def react(
        self,
        message_id: str,
        sender: str,
        type: str,
        *,
        operation: Literal["add", "remove"] = "add",
        custom_emoji: str | None = None,
        emoji: str | None = None,
        url: str | None = None,
        part_index: int = 0,
    ) -> dict[str, Any]:
        """Add or remove a contact's tapback, or add its sticker (`emoji`, or `url`), and return the message."""
        fields = _present(
            message_id=message_id,
            type=type,
            operation=operation,
            custom_emoji=custom_emoji,
            emoji=emoji,
            url=url,
            part_index=part_index,
        )
        return self._command("POST", "reactions", {"from": sender, **fields})

    def edit_message(self, message_id: str, text: str, *, part_index: int = 0) -> dict[str, Any]:
        """Let a contact edit its own message, and return it."""
        return self._command("POST", "edits", {"message_id": message_id, "text": text, "part_index": part_index})

    def set_typing(self, chat_id: str, sender: str, *, started: bool = True) -> None:
        """Let a contact start or stop typing."""
        self._command("POST", "typing", {"chat_id": chat_id, "from": sender, "started": started})

    def set_background(self, chat_id: str, sender: str, **background: object) -> None:
        """Let a contact set the background of a chat, in the fields of the API; without them it is removed."""
        self._command("POST", "backgrounds", {"chat_id": chat_id, "from": sender, **background})

    def share_contact_card(
        self, sender: str, line: str, *, first_name: str, last_name: str | None = None, media_url: str | None = None
    ) -> None:
        """Let a contact share its own card with a line."""
        fields = _present(line=line, first_name=first_name, last_name=last_name, media_url=media_url)
        self._command("POST", "contact_cards", {"from": sender, **fields})

    def receive_poll(
        self, sender: str, options: Sequence[str], *, line: str | None = None, chat_id: str | None = None
    ) -> dict[str, Any]:
        """Receive a poll in a chat, or in the direct chat with a line (the first one if omitted), and return it."""
        line = self.lines[0] if line is None and chat_id is None else line
        fields = _present(options=list(options), line=line, chat_id=chat_id)
        return self._command("POST", "polls", {"from": sender, **fields})

    def add_poll_options(self, message_id: str, sender: str, options: Sequence[str]) -> dict[str, Any]:
        """Let a contact add options to a poll, and return the poll."""
        return self._command(
            "POST", "poll_options", {"message_id": message_id, "from": sender, "options": list(options)}
        )

    def vote(
        self, message_id: str, sender: str, option: str, *, operation: Literal["add", "remove"] = "add"
    ) -> dict[str, Any]:
        """Add or remove a contact's vote for the option of a text, and return the poll."""
        fields = {"message_id": message_id, "from": sender, "option": option, "operation": operation}
        return self._command("POST", "votes", fields)

    def report_receipt(
        self,
        message_id: str,
        status: Literal["queued", "sent", "delivered", "read", "failed"],
        *,
        code: int | None = None,
        detail_code: int | None = None,
    ) -> dict[str, Any]:
        """Report the status of an outbound message; the codes are for failed. Returns the message."""
        fields = _present(message_id=message_id, status=status, code=code, detail_code=detail_code)
        return self._command("POST", "receipts", fields)

    def set_handle(
        self,
        handle: str,
        *,
        services: Sequence[Service] | None = None,
        opted_out: bool | None = None,
        blocked: bool | None = None,
        location: Mapping[str, Any] | UnsetType | None = UNSET,
    ) -> dict[str, Any]:
        """Change a contact's services, opt-out, block or location; None ends the share of its location."""
        fields = _present(
            handle=handle,
            services=None if services is None else list(services),
            opted_out=opted_out,
            blocked=blocked,
        )
        if not isinstance(location, UnsetType):
            fields["location"] = None if location is None else dict(location)
        return self._command("POST", "handles", fields)

    def set_line(
        self,
        phone_number: str,
        *,
        ineligible: bool | None = None,
        reputation: Reputation | None = None,
        retention_hours: float | UnsetType | None = UNSET,
        zero_retention: bool | None = None,
        line_type: Literal["iMessage", "RCS"] | None = None,
    ) -> dict[str, Any]:
        """Add or change a line; None as its retention keeps messages, zero retention keeps none at all."""
        fields = _present(
            phone_number=phone_number,
            ineligible=ineligible,
            reputation=reputation,
            zero_retention=zero_retention,
            line_type=line_type,
        )
        if not isinstance(retention_hours, UnsetType):
            fields["retention_hours"] = retention_hours
        return self._command("POST", "lines", fields)

    def set_chat_health(self, chat_id: str, health: ChatHealth) -> None:
        """Set the health that a chat shows."""
        self._command("POST", "chats", {"chat_id": chat_id, "health": health})

    def order_event(
        self,
        type: str,
        data: Mapping[str, object] | None = None,
        *,
        line: str | None = None,
        chat_id: str | None = None,
    ) -> dict[str, Any]:
        """Send an event of any type to its subscribers; `data` may be omitted for those that nothing here causes."""
        fields = _present(type=type, data=None if data is None else dict(data), line=line, chat_id=chat_id)
        return self._command("POST", "events", fields)

    # --- faults ---

    def fault(
        self,
        kind: FaultKind,
        *,
        path: str | None = None,
        method: str | None = None,
        when: FaultTime | None = None,
        probability: float | None = None,
        count: int | None = None,
        lasts: float | None = None,
        clock: FaultClock | None = None,
        status: int | None = None,
        code: int | None = None,
        envelope: bool | None = None,
        retry_after: int | None = None,
        body: FaultBody | None = None,
        seconds: float | None = None,
    ) -> dict[str, Any]:
        """Inject a fault into requests of the API, and return it with its id."""
        fields = _present(
            kind=kind,
            path=path,
            method=method,
            when=when,
            probability=probability,
            count=count,
            lasts=lasts,
            clock=clock,
            status=status,
            code=code,
            envelope=envelope,
            retry_after=retry_after,
            body=body,
            seconds=seconds,
        )
        return self._command("POST", "faults", fields)

    def faults(self) -> list[dict[str, Any]]:
        """The active faults with their hits."""
        return self._list("faults", "faults")

    def remove_fault(self, fault_id: int) -> None:
        """Remove one fault."""
        self.control("DELETE", f"faults/{fault_id}")

    def clear_faults(self) -> None:
        """Remove every fault."""
        self.control("DELETE", "faults")

    # --- ledger and logs ---

    def ledger(self, *, skip: int = 0) -> list[dict[str, Any]]:
        """Every message that was ever accepted, in order, also deleted and expired ones; without the first `skip`."""
        return self._entries("ledger", skip=skip)

    def wait_for(
        self, number: int, *, direction: Literal["inbound", "outbound"] | None = None, timeout: float = 60
    ) -> list[dict[str, Any]]:
        """Wait until so many messages have been accepted since the start or the last reset.

        Args:
            number: How many messages.
            direction: Only messages of this direction count; None counts all.
            timeout: Real seconds.

        Returns:
            Their entries of the ledger, which may be more than `number`.

        Raises:
            TimeoutError: They were not accepted in time.
        """
        seen = 0
        found: list[dict[str, Any]] = []

        def enough() -> bool:
            nonlocal seen
            entries = self.ledger(skip=seen)
            seen += len(entries)
            found.extend(entry for entry in entries if direction in (None, entry["direction"]))
            return len(found) >= number

        if not _wait(enough, timeout):
            raise TimeoutError(f"{len(found)} of {number} messages were accepted within {timeout:g} seconds")
        return found

    def latest_message(self, to: str) -> dict[str, Any] | None:
        """The newest message to a handle, of a person or a line, as an entry of the ledger; None if there is none."""
        try:
            return self._query("messages/latest", to=to)
        except ControlError as error:
            if error.status != 404:
                raise
            return None

    def wait_for_message(self, to: str, *, after: str | None = None, timeout: float = 60) -> dict[str, Any]:
        """The newest message to a handle, of a person or a line, as soon as there is one.

        Args:
            to: The handle.
            after: Id of a message; only later ones count. Without it, one that is there already is returned.
            timeout: Real seconds.

        Returns:
            Its entry of the ledger.

        Raises:
            TimeoutError: There was none in time.
        """
        deadline = time.monotonic() + timeout
        while True:
            left = max(0.0, deadline - time.monotonic())
            try:
                query = _present(to=to, after=after, timeout=min(left, _TIMEOUT_SECONDS / 2))
                return self._query("messages/wait", **query)
            except ControlError as error:
                if error.status != 404:
                    raise
            if time.monotonic() >= deadline:
                raise TimeoutError(f"no message to {to} was accepted within {timeout:g} seconds")

    def wait_until_idle(self, *, timeout: float = 60) -> None:
        """Wait until no request of the API is under way, for instance of a process that was killed.

        Args:
            timeout: Real seconds.

        Raises:
            TimeoutError: There were requests all the time.
        """
        if not _wait(lambda: not self.control("GET", "requests", summary=1)["under_way"], timeout):
            raise TimeoutError(f"requests of the API were under way for {timeout:g} seconds")

    def requests_served(self) -> list[dict[str, Any]]:
        """The last 100,000 requests of the API, oldest first."""
        return self._entries("requests")

    def request_summary(self) -> list[dict[str, Any]]:
        """The exact number of requests of each method, route and status."""
        return self._list("requests", "summary", summary=1)

    def webhook_deliveries(self) -> list[dict[str, Any]]:
        """The webhook deliveries with their attempts, oldest first."""
        return self._list("webhooks", "deliveries")

    # --- HTTP ---

    def _command(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        result: dict[str, Any] = self.control(method, path, body)
        return result

    def _query(self, path: str, **query: object) -> dict[str, Any]:
        result: dict[str, Any] = self.control("GET", path, **query)
        return result

    def _list(self, path: str, name: str, **query: object) -> list[dict[str, Any]]:
        result: list[dict[str, Any]] = self.control("GET", path, **query)[name]
        return result

    def _entries(self, path: str, **query: object) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._request("GET", path, None, query).splitlines()]

    def _request(self, method: str, path: str, body: object, query: Mapping[str, object]) -> bytes:
        # A plain connection: it needs no client library, and no proxy of the environment applies.
        url = urlsplit(self.base_url)
        target = f"/_emulator/{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {} if body is None else {"Content-Type": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        connection = HTTPConnection(url.hostname or "", url.port, timeout=_TIMEOUT_SECONDS)
        try:
            connection.request(method, target, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        if response.status >= 400:
            raise _control_error(response.status, content)
        return content


def _control_error(status: int, content: bytes) -> ControlError:
    try:
        error = json.loads(content)["error"]
        return ControlError(status, error["field"], error["rule"])
    except (ValueError, LookupError, TypeError):
        return ControlError(status, "path", content.decode(errors="replace"))


def _wait(is_so: Callable[[], bool], timeout: float) -> bool:
    """Whether it is so, now or within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not is_so():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _present(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _time(value: datetime | str | None) -> str | None:
    return value.isoformat() if isinstance(value, datetime) else value
