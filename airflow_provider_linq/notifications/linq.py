"""`LinqNotifier`: a message from a callback or a deadline alert."""

from __future__ import annotations

import asyncio
import copy
import json
import queue
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from contextvars import copy_context
from datetime import timedelta
from functools import cached_property
from threading import Thread
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk import BaseNotifier

from airflow_provider_linq._internal.arguments import is_nothing, positive_timedelta
from airflow_provider_linq._internal.destination import Destination, destination_of
from airflow_provider_linq._internal.idempotency import derive_key, instance_key
from airflow_provider_linq._internal.polling import describe, in_thread, with_present_key
from airflow_provider_linq._internal.rendering import SafeRendering
from airflow_provider_linq._internal.uploads import check_message, with_key
from airflow_provider_linq.hooks.linq import LinqAsyncHook, LinqHook
from linq_client import (
    MAX_TEXT,
    APIConnectionError,
    InvalidRequestError,
    LinqClient,
    LinqError,
    Message,
    MessageLike,
    check_handle,
    comparable_handle,
)

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context

__all__ = ["LinqNotifier"]

#: Below the 50 seconds after which the DAG processor ends the process of a file, with the callbacks behind.
TIMEOUT: Final = timedelta(seconds=40)

_CUT: Final = " … [cut]"
_LINK_REMOVED: Final = "[link removed]"

#: A handle that no template can be in, whatever delimiters the DAG has given to its templates.
_NO_TEMPLATE: Final = re.compile(r"[\s\w@.+-]+")


class LinqNotifier(SafeRendering, BaseNotifier):
    """
    Send a message to a chat, or to handles, when a callback is called.

    For ``on_failure_callback`` and the other callbacks of a task, and as
    ``DeadlineAlert(..., callback=AsyncCallback(LinqNotifier, kwargs={...}))``. A callback that Airflow calls twice in
    the same try, or for the same deadline, sends once.

    An alert does not depend on what it says. A text that is too long is cut. The API takes no URL in the first message
    of a chat: a text with one goes into the chat that there is, or without the URL. In the place of a message that
    can't be made or is refused, a sentence that names DAG, task and run is sent. What goes wrong then is one line in
    the log; the callback never fails.

    :param message: text, a list of parts, or the JSON form of a message; no files (templated)
    :param chat_id: the chat to send to; excludes ``to`` and ``from_`` (templated)
    :param to: handle, or a list of them for a group chat (templated)
    :param from_: own line to send to ``to`` from; by default that of the connection (templated)
    :param linq_conn_id: connection of type ``linq`` (templated)
    :param timeout: for how long to try, all in all: a timedelta or seconds.
    :raises ValueError: the message names a file, or a handle is none.
    """

    template_fields: Sequence[str] = ("message", "chat_id", "to", "from_", "linq_conn_id")

    def __init__(
        self,
        *,
        message: MessageLike,
        chat_id: str | None = None,
        to: str | Sequence[str] | None = None,
        from_: str | None = None,
        linq_conn_id: str = LinqHook.default_conn_name,
        timeout: timedelta | float = TIMEOUT,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if _names_file(message):
            raise ValueError("message: must name no file of the worker (path), give a url or an attachment_id")
        written = [to] if isinstance(to, str) else to if isinstance(to, list | tuple | set) else ()
        for one in written:
            if isinstance(one, str) and _NO_TEMPLATE.fullmatch(one):
                check_handle(one.strip(), "to")  # it would be found out when the alert is needed
        self.message = message
        self.chat_id = chat_id
        self.to = to
        self.from_ = from_
        self.linq_conn_id = linq_conn_id
        self.timeout = positive_timedelta(timeout, "timeout")

    @cached_property
    def hook(self) -> LinqHook:
        return LinqHook(self.linq_conn_id)

    # Tasks, and the instances of a mapped one, share a notifier of `default_args`: what is rendered for one of them
    # must not stay for the next, so each call works with a copy.

    def __call__(self, *args: Any) -> None:
        BaseNotifier.__call__(copy.copy(self), *args)

    def __await__(self) -> Generator[Any, Any, None]:
        return BaseNotifier.__await__(copy.copy(self))

    def render_template_fields(self, context: Context, jinja_env: jinja2.Environment | None = None) -> None:
        """Render what can be rendered; a message that can't be is replaced."""
        env = jinja_env or self.get_template_env(dag=context.get("dag"))
        for name in self.template_fields:
            try:
                self._do_render_template_fields(self, (name,), context, env, set())
            except Exception as error:
                self.log.error("%s can't be rendered: %s", name, type(error).__name__)
                setattr(self, name, None)

    def notify(self, context: Context) -> None:
        try:
            self._log_sent(self._in_time(lambda client: self._send(self.hook, client, context)))
        except Exception as error:
            self._log_failure(error)

    async def async_notify(self, context: Context) -> None:
        hook = LinqAsyncHook(self.linq_conn_id)

        async def send() -> str:
            await hook.aclient()  # fetches the connection without blocking
            client = hook.client
            try:
                return await in_thread(client, lambda: self._send(hook, client, context))
            finally:
                client.abort()
                client.close()

        try:
            self._log_sent(await asyncio.wait_for(with_present_key(hook, send), self.timeout.total_seconds()))
        except asyncio.TimeoutError:
            self._log_failure(self._no_response())
        except Exception as error:
            self._log_failure(error)

    def _in_time(self, send: Callable[[LinqClient], str]) -> str:
        """Return what is made of a client, in a thread that ends when the time is over."""
        client = self.hook.client  # the connection is fetched here: Airflow expects that of this thread
        outcome: queue.Queue[str | Exception] = queue.Queue()

        def run() -> None:
            try:
                outcome.put(send(client))
            except Exception as error:
                outcome.put(error)

        Thread(target=copy_context().run, args=(run,), daemon=True).start()
        try:
            found = outcome.get(timeout=self.timeout.total_seconds())
        except queue.Empty:
            raise self._no_response() from None
        finally:
            client.abort()
            client.close()
        if isinstance(found, Exception):
            raise found
        return found

    def _no_response(self) -> LinqError:
        return APIConnectionError(f"no response within {self.timeout.total_seconds():g} seconds")

    def _send(self, hook: LinqHook, client: LinqClient, context: Context) -> str:
        """Send the message, or what can be sent in its place, and return its id."""
        # Rather from the usual line than not at all.
        from_ = None if is_nothing(self.from_ or "") else _stripped(self.from_)
        destination = destination_of(hook, chat_id=_stripped(self.chat_id), to=_stripped(self.to), from_=from_)
        substitute = Message(parts=(_cut(_occasion(context)),))
        try:
            message = check_message(_fitted(self.message))
        except Exception as error:
            self.log.warning("The message can't be sent, another is sent in its place: %s", describe(error))
            message = substitute
        try:
            return self._deliver(client, destination, message, context)
        except InvalidRequestError as error:
            if message is substitute:
                raise
            self.log.warning("The message was refused, another is sent in its place: %s", describe(error))
            return self._deliver(client, destination, substitute, context)

    def _deliver(self, client: LinqClient, destination: Destination, message: Message, context: Context) -> str:
        keyed = self._with_key(message, context)
        if destination.line is not None:
            try:
                message.check_first_in_chat()
            except InvalidRequestError:
                chat_id = _existing_chat(client, destination)
                destination = destination if chat_id is None else Destination(chat_id)
                keyed = keyed.as_first_in_chat(_LINK_REMOVED) if chat_id is None else keyed
        accepted = destination.send(client, keyed)
        if not destination.is_of(accepted):
            raise InvalidRequestError(
                f"idempotency_key: {accepted.idempotency_key!r} stands for a message to somebody else. Nothing was sent"
            )
        return accepted.message.id

    def _with_key(self, message: Message, context: Context) -> Message:
        """Return the message with a key that is the same for this occasion, these recipients and this text."""
        if message.idempotency_key is not None:
            return message
        about = json.dumps([self.chat_id, self.to, self.from_, message.to_wire()], sort_keys=True, default=str)
        key = _key(context, about)
        return message if key is None else with_key(message, key)

    def _log_sent(self, message_id: str) -> None:
        self.log.info("Notified by message %s", message_id)

    def _log_failure(self, error: Exception) -> None:
        self.log.error("The alert could not be sent: %s", describe(error))


def _stripped(value: Any) -> Any:
    """Return an argument without the white space around it that a Variable or a file may have."""
    if isinstance(value, list | tuple | set):
        return [_stripped(one) for one in value]
    return value.strip() if isinstance(value, str) else value


def _names_file(message: object) -> bool:
    if isinstance(message, Mapping):
        return "path" in message or _names_file(message.get("parts"))
    return isinstance(message, list | tuple) and any(isinstance(part, Mapping) and "path" in part for part in message)


def _fitted(message: Any) -> Any:
    """Return a message with its texts cut to what the API takes; anything that is none becomes text."""
    if isinstance(message, Mapping):
        return {**message, "parts": _fitted(message["parts"])} if "parts" in message else {"parts": [_part(message)]}
    if isinstance(message, list | tuple):
        return [_part(part) for part in message]
    return message if isinstance(message, Message) else _cut(str(message))


def _part(part: Any) -> Any:
    if isinstance(part, Mapping):
        return {**part, "value": _cut(part["value"])} if isinstance(part.get("value"), str) else part
    return _cut(part) if isinstance(part, str) else part


def _cut(text: str) -> str:
    """Return at most as many characters as a text may have, none of which is half a character or no character."""
    whole = text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    return whole if len(whole) <= MAX_TEXT else whole[: MAX_TEXT - len(_CUT)] + _CUT


def _existing_chat(client: LinqClient, destination: Destination) -> str | None:
    """Return the id of the chat of a line with exactly these handles; None if there is none, or nobody knows."""
    wanted = set(map(comparable_handle, destination.to))
    try:
        for chat in client.chats.list(from_=destination.line, to=destination.to[0]):
            if {comparable_handle(one.handle) for one in chat.handles if not one.is_me} == wanted:
                return chat.id
    except LinqError:
        pass  # without the link the alert is sent all the same
    return None


def _occasion(context: Mapping[str, Any]) -> str:
    """Say where an alert comes from whose own text can't be sent."""
    source = context.get("ti") or context.get("dag_run")
    names = {"dag_id": "DAG", "task_id": "task", "run_id": "run", "map_index": "map index"}
    found = {word: _field(source, name) for name, word in names.items()}
    said = ", ".join(f"{word} {value}" for word, value in found.items() if value is not None and value != -1)
    return f"Alert from Airflow: {said or 'a callback'}. Its own text could not be sent, see the log."


def _key(context: Mapping[str, Any], about: str) -> str | None:
    """Return the key of what is to be said on the occasion that a context tells of; None if it tells of none."""
    ti, deadline, run = context.get("ti"), context.get("deadline"), context.get("dag_run")
    if ti is not None:
        needed = ("dag_id", "run_id", "task_id", "try_number")
        known: Any = SimpleNamespace(**{name: _field(ti, name) for name in (*needed, "map_index")})
        if None in [getattr(known, name) for name in needed]:
            return None
        return instance_key(known, "notifier", known.try_number, about)
    # Without a task: a deadline alert, which a restarted triggerer calls again, or the callback of a DAG.
    if (missed := _field(deadline, "id")) is not None:
        return derive_key("deadline", str(missed), about)
    ids = [_field(run, name) for name in ("dag_id", "run_id")]
    # A run that is cleared starts again, and then there is something new to say.
    return None if None in ids else derive_key("run", *map(str, ids), str(_field(run, "start_date")), about)


def _field(source: Any, name: str) -> Any:
    """Read a field of a run or another source, which is a mapping in the context of a deadline alert."""
    return source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)
