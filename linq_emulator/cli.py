"""The command line. It prints one line of JSON once the server accepts connections; an error is one line, too."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from linq_emulator.backend import DEFAULT_KEY, DEFAULT_LINES, Settings
from linq_emulator.clock import Clock, parse_iso
from linq_emulator.domain import validate
from linq_emulator.hosts import WILDCARDS, host_name, is_loopback_host, url_host
from linq_emulator.journal import JournalError
from linq_emulator.json_codec import encode
from linq_emulator.server.emulator_server import EmulatorServer, ServerOptions
from linq_emulator.server.openapi import document
from linq_emulator.switches import Switches, parse_assignment

__all__ = ["main", "parse_options"]

T = TypeVar("T")

_MIN_TOKEN = 16


def _checked(check: Callable[[str], T]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """A click callback that converts one value or several. Its error names the option."""

    def callback(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        try:
            if isinstance(value, tuple):
                return tuple(check(item) for item in value)
            return None if value is None else check(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return callback


def _phone(text: str) -> str:
    if not validate.is_phone(text):
        raise ValueError(f"{text} is not a phone number in E.164 format, such as {DEFAULT_LINES[0]}")
    return text


def _handle(text: str) -> str:
    if not validate.is_handle(text):
        raise ValueError(f"{text} is neither a phone number in E.164 format nor an e-mail address")
    return text


def _switch(text: str) -> tuple[str, object]:
    name, value = parse_assignment(text)
    Switches().update({name: value})
    return name, value


def _host(text: str) -> str:
    name = text if text.startswith("[") else url_host(text)
    if host_name(name) != name.lower():
        raise ValueError(f"{text} is not a name or an address without a port")
    return name


def _token(text: str) -> str:
    if len(text) < _MIN_TOKEN or not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError(f"must have {_MIN_TOKEN} or more printable ASCII characters and no space")
    return text


def _time(text: str) -> int:
    try:
        return parse_iso(text)
    except ValueError:
        raise ValueError(f"{text} is not an RFC 3339 time with an offset, such as 2026-11-21T10:00:00Z") from None


@click.command(context_settings={"max_content_width": 110, "show_default": True})
@click.option(
    "--host",
    default="127.0.0.1",
    help="Address to listen on. Any but loopback needs --token.",
)
@click.option("--port", default=8181, type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one.")
@click.option(
    "--token",
    callback=_checked(_token),
    help="What every command of the control API must present; without it on loopback, nothing.",
)
@click.option(
    "--allow-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    callback=_checked(_host),
    help="A name or address by which clients reach this machine, without the port; repeat it.",
)
@click.option("--api-key", default=DEFAULT_KEY, help="The bearer key that clients must send.")
@click.option(
    "--line",
    "lines",
    multiple=True,
    default=DEFAULT_LINES,
    callback=_checked(_phone),
    help="An own number; repeat it.",
)
@click.option("--opted-out", multiple=True, callback=_checked(_handle), help="A handle that has opted out; repeat it.")
@click.option(
    "--ephemeral-hours",
    type=click.FloatRange(1, 24),
    help="Messages of every line expire after so many hours.",
)
@click.option("--seed", type=int, help="Makes identifiers and chances repeatable.")
@click.option(
    "--switch",
    "switches",
    multiple=True,
    callback=_checked(_switch),
    metavar="NAME=VALUE",
    help="Set a switch; repeat it.",
)
@click.option("--freeze", metavar="ISO", callback=_checked(_time), help="Freeze the clock at a time.")
@click.option(
    "--speed",
    default=1.0,
    type=click.FloatRange(0, 1_000_000, min_open=True),
    help="Virtual seconds per real second.",
)
@click.option("--no-ui", is_flag=True, help="Serve no inbox.")
@click.option(
    "--persist",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Keep the state in a file, and go on from there at the next start.",
)
@click.option("--openapi", is_flag=True, help="Print the OpenAPI document of what is emulated, and end.")
def _command(
    host: str,
    port: int,
    token: str | None,
    allowed_hosts: tuple[str, ...],
    api_key: str,
    lines: tuple[str, ...],
    opted_out: tuple[str, ...],
    ephemeral_hours: float | None,
    seed: int | None,
    switches: tuple[tuple[str, object], ...],
    freeze: int | None,
    speed: float,
    no_ui: bool,
    persist: Path | None,
    openapi: bool,
) -> ServerOptions | None:
    """Emulate the Linq Partner API v3 in memory, for development and tests."""
    if token is None and not (is_loopback_host(host) or openapi):
        raise click.UsageError(f"--host {host} is not loopback: it needs --token, without which anybody commands it")
    if openapi:
        print(encode(document(f"http://{url_host(host)}:{port}")).decode())
        return None
    settings = Settings(
        api_key=api_key,
        lines=tuple(dict.fromkeys(lines)),
        opted_out=opted_out,
        ephemeral_hours=ephemeral_hours,
        seed=seed,
        switches=dict(switches),
        token=token,
        allowed_hosts=(*allowed_hosts, *(() if host in WILDCARDS else (url_host(host),))),
        with_inbox=not no_ui,
    )
    return ServerOptions(host, port, settings, Clock(freeze, frozen=freeze is not None, speed=speed), persist)


def parse_options(arguments: Sequence[str]) -> ServerOptions:
    """The options of these command line arguments.

    Raises:
        click.ClickException: An option is wrong.
    """
    options: ServerOptions = _command.main(list(arguments), prog_name="linq-emulator", standalone_mode=False)
    return options


def main(prog_name: str | None = None) -> None:
    """Run the command line. A wrong option is reported in one line and ends with status 2."""
    try:
        options = _command.main(prog_name=prog_name or "linq-emulator", standalone_mode=False)
        if isinstance(options, ServerOptions):  # Otherwise only the help, or the document, was wanted.
            _serve(options)
    except click.ClickException as error:
        print(f"linq-emulator: {error.format_message()}", file=sys.stderr)
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)


def _serve(options: ServerOptions) -> None:
    try:
        server = EmulatorServer(options, on_ready=lambda: print(encode(server.address).decode(), flush=True))
    except JournalError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        what = f"open {error.filename}" if error.filename else f"listen on {options.host}:{options.port}"
        raise click.ClickException(f"cannot {what}: {error.strerror or error}") from None
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    if not is_loopback_host(options.host):
        logging.getLogger("linq_emulator").warning(
            "it listens on %s: the network can reach it. Its API needs the key, its control API the token", options.host
        )
    # uvicorn raises the signals again after its shutdown. To be asked to stop is no failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    server.run()
