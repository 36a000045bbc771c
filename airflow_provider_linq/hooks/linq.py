"""`LinqHook`: an Airflow connection of type ``linq``, the client made of it, and sending through it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

from airflow.sdk import BaseHook

from airflow_provider_linq._internal import version_compat
from airflow_provider_linq._internal.arguments import NamedTwiceError, json_value
from airflow_provider_linq._internal.destination import Destination, destination_of
from airflow_provider_linq._internal.polling import in_thread
from airflow_provider_linq.get_provider_info import connection_type
from airflow_provider_linq.results import SendResult
from linq_client import (
    DEFAULT_BASE_URL,
    DEFAULT_TIMEOUT,
    InvalidRequestError,
    LinqClient,
    LinqError,
    MessageLike,
    RetentionWindow,
    check_line,
    closest_name,
    models,
)

if TYPE_CHECKING:
    from airflow.sdk import Connection

__all__ = ["LinqAsyncHook", "LinqHook", "LinqSettings"]

T = TypeVar("T")

#: The Test button waits for a response, so it tries once, and not for longer than this many seconds.
TEST_DEADLINE: Final = 15.0
TEST_LINES_SHOWN: Final = 10

#: The longest span of a field: a day, in seconds. Sockets raise an OverflowError for some spans.
_MOST: Final = 86_400


@dataclass(frozen=True)
class LinqSettings:
    """A connection, with the hook's arguments merged over it, checked.

    :param api_key: never shown.
    :param base_url: ends in ``/api/partner``.
    :param default_line: own phone number to send from where a task names none.
    :param retention_window: how long the platform keeps a message; None if for ever.
    :param timeout: seconds to wait for a connection, and for each read of a response.
    :param max_retries: tries of a call after the first one, where it may be repeated.
    :param proxy: URL of the proxy for all requests, which may hold a password; None for that of the environment.
    :param verify: file with the certificates to trust; True for those that Python trusts, or the environment names.
    :param allow_http: whether the base URL may be an ``http://`` one that leaves the machine.
    :param webhook_archive_secret: key that decrypts the webhook archive; None if that is not encrypted.
    """

    api_key: str = field(repr=False)
    base_url: str
    default_line: str | None
    retention_window: RetentionWindow | None
    timeout: tuple[float, float]
    max_retries: int
    proxy: str | None = field(repr=False)
    verify: str | bool
    allow_http: bool
    webhook_archive_secret: str | None = field(default=None, repr=False)

    def new_client(self, **options: Any) -> LinqClient:
        """Make a client; ``options`` go before the settings."""
        settings = {
            "base_url": self.base_url,
            "timeout": self.timeout,
            "max_retries": self.max_retries,
            "proxy": self.proxy,
            "verify": self.verify,
            "allow_http": self.allow_http,
        }
        return LinqClient(self.api_key, **{**settings, **options})


class LinqHook(BaseHook):
    """
    Talk to the Linq messaging platform through a connection of type ``linq``.

    The connection holds the API key as its password and, if it is not the vendor's, the base URL as its host: the
    whole URL with scheme and path, and with the port if there is one. Its extra fields are the arguments that follow
    the connection here; an argument given here goes before its field. ``hook.client`` reaches all of the API.

    :param linq_conn_id: the connection.
    :param default_line: own phone number to send from where a call names none, in E.164 form.
    :param retention_window_hours: after how many hours the platform deletes messages, 1 to 24; by default it
        keeps them.
    :param connect_timeout: seconds to wait for a connection, 5 by default.
    :param read_timeout: seconds to wait for each read of a response, 90 by default.
    :param max_retries: tries of a call after the first one, where it may be repeated, 4 by default.
    :param proxy: URL of a proxy for all requests; by default that of the environment.
    :param verify: file with the certificates to trust, of a private CA for example; by default those that Python
        trusts, or that ``REQUESTS_CA_BUNDLE`` names.
    :param allow_http: let the key leave the machine unencrypted, where the base URL begins with ``http://``.
    :param webhook_archive_secret: key that decrypts the webhook archive, where it is encrypted.
    """

    conn_name_attr = "linq_conn_id"
    default_conn_name = "linq_default"
    conn_type = "linq"
    hook_name = "Linq"

    def __init__(
        self,
        linq_conn_id: str = default_conn_name,
        *,
        default_line: str | None = None,
        retention_window_hours: float | None = None,
        connect_timeout: float | None = None,
        read_timeout: float | None = None,
        max_retries: int | None = None,
        proxy: str | None = None,
        verify: str | None = None,
        allow_http: bool | None = None,
        webhook_archive_secret: str | None = None,
    ) -> None:
        super().__init__()
        self.linq_conn_id = linq_conn_id
        self._arguments = {
            "default_line": default_line,
            "retention_window_hours": retention_window_hours,
            "connect_timeout": connect_timeout,
            "read_timeout": read_timeout,
            "max_retries": max_retries,
            "proxy": proxy,
            "verify": verify,
            "allow_http": allow_http,
            "webhook_archive_secret": webhook_archive_secret,
        }

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the extra fields of the connection form, for Airflow 3.1; later versions read the metadata."""
        return version_compat.form_widgets(connection_type())

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return how the form shows the other fields, for Airflow 3.1; later versions read the metadata."""
        return version_compat.form_behaviour(connection_type())

    @cached_property
    def settings(self) -> LinqSettings:
        """The connection with the arguments over it.

        :raises InvalidRequestError: a field is missing or wrong.
        """
        return self._settings_of(self.get_connection(self.linq_conn_id))

    def _settings_of(self, conn: Connection) -> LinqSettings:
        if not conn.password:  # the client would look into the environment, where another account's key may stand
            raise InvalidRequestError(
                f"connection {self.linq_conn_id!r}: password: must be the API key (the field API key of the form), got "
                "none"
            )
        if conn.port:  # the form hides it, and a connection from elsewhere would go to another server than it says
            raise InvalidRequestError(
                f"connection {self.linq_conn_id!r}: port: must stand in the base URL (the host), got {conn.port!r}"
            )
        fields = {**_filled(self._extra_of(conn)), **_filled(self._arguments)}
        line = fields.get("default_line")
        hours = _positive(fields, "retention_window_hours")
        return LinqSettings(
            api_key=conn.password,
            base_url=conn.host or DEFAULT_BASE_URL,
            default_line=None if line is None else check_line(line, "default_line"),
            retention_window=None if hours is None else RetentionWindow(hours),
            timeout=(
                _positive(fields, "connect_timeout") or DEFAULT_TIMEOUT[0],
                _positive(fields, "read_timeout") or DEFAULT_TIMEOUT[1],
            ),
            max_retries=_whole(fields, "max_retries", 4),
            proxy=_text(fields, "proxy"),
            verify=_text(fields, "verify") or True,
            allow_http=_flag(fields, "allow_http"),
            webhook_archive_secret=_text(fields, "webhook_archive_secret"),
        )

    def _extra_of(self, conn: Connection) -> Mapping[str, Any]:
        """Return the extra fields. Without one that was given, such as the window, messages would expire unread."""
        extra: Mapping[str, Any] = conn.extra_dejson  # {} for what is no JSON; and what is secret in it is masked
        try:
            given = json_value(conn.extra or "{}")
        except NamedTwiceError as twice:
            raise InvalidRequestError(
                f"connection {self.linq_conn_id!r}: extra: must have each field once, got {twice.name} twice"
            ) from None
        except ValueError:
            given = None
        if not isinstance(given, Mapping):
            raise InvalidRequestError(
                f"connection {self.linq_conn_id!r}: extra: must be a JSON object, got another value"
            )
        for name in extra.keys() - self._arguments.keys():
            near = closest_name(name, self._arguments)
            if near:
                raise InvalidRequestError(
                    f"connection {self.linq_conn_id!r}: extra: {name} is no field, did you mean {near}?"
                )
        return extra

    @cached_property
    def client(self) -> LinqClient:
        """The client of this connection: one session, with all of the API and the retries that are safe."""
        return self.new_client()

    def new_client(self, **options: Any) -> LinqClient:
        """Make another client of this connection, with a session of its own.

        :param options: what :class:`~linq_client.LinqClient` takes besides, such as ``max_retries`` or ``pool_size``.
        """
        return self.settings.new_client(**{"renew_key": self._present_key, **options})

    def _present_key(self) -> str:
        """Read the connection again: the key that the API has refused may have been changed since."""
        return self._settings_of(self.get_connection(self.linq_conn_id)).api_key

    def get_conn(self) -> LinqClient:
        """Return `client`, under the name that every hook has."""
        return self.client

    def test_connection(self) -> tuple[bool, str]:
        """Ask the API for the account's lines, once, and say what came of it."""
        try:
            settings = self.settings
            with settings.new_client(deadline=TEST_DEADLINE, max_retries=0) as client:
                lines = client.phone_numbers.list()
        except LinqError as error:
            return False, str(error)
        return _account_of(settings, lines)

    def send(
        self,
        message: MessageLike,
        *,
        chat_id: str | None = None,
        to: str | Sequence[str] | None = None,
        from_: str | None = None,
    ) -> SendResult:
        """
        Send a message to a chat, or to handles.

        Each call makes an idempotency key of its own unless the message carries one, so a task that may be retried
        gives one.

        :param message: text, parts, the JSON form of a message, or a ``linq_client.Message``.
        :param chat_id: the chat; excludes ``to``.
        :param to: one handle, or several for a group chat.
        :param from_: the line to send to ``to`` from, by default the connection's; if that has none either, the
            platform chooses one.
        :raises LinqError: see ``linq_client.errors``.
        """
        return destination_of(self, chat_id=chat_id, to=to, from_=from_).send(self.client, message).result()

    def send_from_any_line(self, to: str | Sequence[str], message: MessageLike) -> SendResult:
        """
        Send a message to handles from the line that the platform chooses, whatever the connection's is.

        :param to: one handle, or several for a group chat.
        :param message: as for ``send``.
        :raises LinqError: see ``linq_client.errors``.
        """
        return Destination.of(None, to, None, None).send(self.client, message).result()

    def create_chat(self, to: str | Sequence[str], message: MessageLike, *, from_: str | None = None) -> SendResult:
        """
        Send a message to handles from a line, in their chat if there is one, else in a new one.

        :param to: one handle, or several for a group chat.
        :param message: as for ``send``; as it may be the first of the chat: no link, URL, reply or effect.
        :param from_: the line; by default the connection's.
        :raises LinqError: see ``linq_client.errors``.
        """
        return destination_of(self, to=to, from_=from_, needs_line=True).send(self.client, message).result()


class LinqAsyncHook(LinqHook):
    """
    The hook for triggers and other code in an event loop, which it never blocks.

    The connection is fetched without blocking, and calls of the client run in a thread. Hooks of the same connection
    share one client.

    :param linq_conn_id: the connection; the other arguments are those of :class:`LinqHook`.
    """

    def new_client(self, **options: Any) -> LinqClient:
        # The connection is fetched in the event loop alone: see `has_other_key`.
        return super().new_client(**{"renew_key": None, **options})

    async def aclient(self) -> LinqClient:
        """Return the client that the hooks of this connection share."""
        await self.fetch_connection()
        return _shared_client(self.settings)

    async def fetch_connection(self) -> None:
        """Fetch the connection, if it was not, so that `settings` does not block the event loop."""
        if "settings" not in vars(self):
            vars(self)["settings"] = self._settings_of(await self.aget_connection(self.linq_conn_id))

    def forget_connection(self) -> None:
        """Fetch the connection again at the next call: its key may have been changed."""
        vars(self).pop("settings", None)
        vars(self).pop("client", None)

    async def has_other_key(self) -> bool:
        """Fetch the connection again, since the API has refused its key, and say whether it has another one now."""
        refused: LinqSettings | None = vars(self).get("settings")
        self.forget_connection()
        await self.aclient()
        return refused is None or self.settings.api_key != refused.api_key

    async def call(self, function: Callable[[LinqClient], T]) -> T:
        """
        Return what a function makes of the client, in a thread.

        :param function: for example ``lambda client: client.messages.get(message_id)``.
        """
        client = await self.aclient()
        return await in_thread(client, lambda: function(client))


@lru_cache(maxsize=32)
def _shared_client(settings: LinqSettings) -> LinqClient:
    return settings.new_client()


def _account_of(settings: LinqSettings, lines: list[models.PhoneNumber]) -> tuple[bool, str]:
    """Say what account a connection reaches, the line that it sends from first."""
    numbers = [line.phone_number for line in lines]
    shown = [_described(line) for line in sorted(lines, key=lambda line: line.phone_number != settings.default_line)]
    more = len(shown) - TEST_LINES_SHOWN
    listed = ", ".join([*shown[:TEST_LINES_SHOWN], *([f"and {more} more"] if more > 0 else [])])
    if settings.default_line is not None and settings.default_line not in numbers:
        return (
            False,
            f"default line {settings.default_line} is not a line of this account, which has {listed or 'none'}",
        )
    window = settings.retention_window
    expiry = f"; messages expire after {window.hours:g} hours" if window is not None else ""
    return True, f"{len(lines)} line{'s' * (len(lines) != 1)}{': ' * bool(lines)}{listed}{expiry}"


def _described(line: models.PhoneNumber) -> str:
    return f"{line.phone_number} {line.reputation.status if line.reputation else 'of unknown reputation'}"


def _filled(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is empty: forms save an empty field as null or as an empty string."""
    return {name: value for name, value in fields.items() if value not in (None, "")}


def _positive(fields: Mapping[str, Any], name: str) -> float | None:
    """Read a number, of seconds or hours, which is a string in a connection that was given as a URI."""
    if name not in fields:
        return None
    try:
        number = 0.0 if isinstance(fields[name], bool) else float(fields[name])
    except (TypeError, ValueError, OverflowError):
        number = 0.0
    if not 0 < number <= _MOST:
        raise InvalidRequestError(f"{name}: must be a number above 0 and at most {_MOST}, got {fields[name]!r}")
    return number


def _whole(fields: Mapping[str, Any], name: str, default: int) -> int:
    given = fields.get(name, default)
    try:
        number = int(given)
    except (TypeError, ValueError, OverflowError):
        number = -1
    if number < 0 or isinstance(given, bool) or (isinstance(given, float) and number != given):
        raise InvalidRequestError(f"{name}: must be a whole number from 0 on, got {given!r}")
    return number


def _text(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidRequestError(f"{name}: must be text, got {type(value).__name__}")
    return value


def _flag(fields: Mapping[str, Any], name: str) -> bool:
    """Read a yes or no, which is a string in a connection that was given as a URI."""
    value = str(fields.get(name, False)).lower()
    if value not in ("true", "false"):
        raise InvalidRequestError(f"{name}: must be true or false, got {fields[name]!r}")
    return value == "true"
