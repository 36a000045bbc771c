"""The command line: options, one line of JSON once the server listens, one line of complaint otherwise."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from linq_emulator.backend import DEFAULT_KEY, DEFAULT_LINES, Settings, World
from linq_emulator.clock import Clock, parse_iso
from linq_emulator.domain import validate
from linq_emulator.serializers import encode
from linq_emulator.server.app import build
from linq_emulator.server.gateway import PREFIX
from linq_emulator.server.http_server import bind, serve
from linq_emulator.switches import Switches, parse_assignment

T = TypeVar("T")


def _checked(check: Callable[[str], T]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """A click callback that turns one value or several, and names the option when one is wrong."""

    def callback(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        try:
            if isinstance(value, tuple):
                return tuple(check(one) for one in value)
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


def _moment(text: str) -> int:
    try:
        return parse_iso(text)
    except ValueError:
        raise ValueError(f"{text} is not an RFC 3339 time with an offset, such as 2026-11-21T10:00:00Z") from None


@click.command(context_settings={"max_content_width": 110, "show_default": True})
@click.option(
    "--host",
    default="127.0.0.1",
    help="Address to listen on. The control API takes no key: keep to loopback.",
)
@click.option("--port", default=8181, type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one.")
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
@click.option("--freeze", metavar="ISO", callback=_checked(_moment), help="Freeze the clock at a time.")
@click.option(
    "--speed",
    default=1.0,
    type=click.FloatRange(0, 1_000_000, min_open=True),
    help="Virtual seconds a real second.",
)
def _command(
    host: str,
    port: int,
    api_key: str,
    lines: tuple[str, ...],
    opted_out: tuple[str, ...],
    ephemeral_hours: float | None,
    seed: int | None,
    switches: tuple[tuple[str, object], ...],
    freeze: int | None,
    speed: float,
) -> None:
    """Emulate the Linq Partner API v3 in memory, for development and tests."""
    try:
        bound = bind(host, port)
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    reached = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    origin = f"http://{f'[{reached}]' if ':' in reached else reached}:{bound.getsockname()[1]}"
    settings = Settings(
        api_key=api_key,
        lines=tuple(dict.fromkeys(lines)),
        opted_out=opted_out,
        ephemeral_hours=ephemeral_hours,
        seed=seed,
        switches=dict(switches),
        origin=origin,
    )
    world = World(settings, Clock(freeze, frozen=freeze is not None, speed=speed))
    shown = {
        "base_url": origin + PREFIX,
        "api_key": api_key,
        "lines": settings.lines,
        "opted_out": opted_out,
    }
    serve(build(world), bound, lambda: print(encode(shown).decode(), flush=True))


def main(prog_name: str | None = None) -> None:
    """Run the command line; a wrong option is told in one line and ends with status 2."""
    try:
        _command.main(prog_name=prog_name or "linq-emulator", standalone_mode=False)
    except click.ClickException as error:
        print(f"linq-emulator: {error.format_message()}", file=sys.stderr)
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)
