"""The command line: `linq-webhooks serve | subscribe | check | compact | erase | new-key`."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Final

import click

from linq_client import LinqClient, LinqError, SettingsError, closest_name
from linq_client.webhooks import SigningSecrets
from linq_webhooks import maintenance
from linq_webhooks._encryption import BodyCipher
from linq_webhooks.app import DEFAULT_MAX_BODY_BYTES, DEFAULT_PATH, create_app
from linq_webhooks.archive import open_archive
from linq_webhooks.secrets_file import SecretsFile, add_secret, known_subscriptions, parse_secrets
from linq_webhooks.server import Server
from linq_webhooks.subscriptions import DEFAULT_EVENTS, ensure_subscription, find_subscription, problems_of

__all__ = ["main"]

DEFAULT_ARCHIVE: Final = "./linq-webhooks"

_SECRET_VARIABLE: Final = "LINQ_WEBHOOK_SECRET"
_KEY_VARIABLE: Final = "LINQ_WEBHOOK_ENCRYPT_KEY"

archive_option = click.option(
    "--archive",
    default=DEFAULT_ARCHIVE,
    envvar="LINQ_WEBHOOK_ARCHIVE",
    show_envvar=True,
    help="Where events are kept: a folder, an fsspec URL, sqlite:///... or postgresql+psycopg://...",
)
key_option = click.option(
    "--encrypt-key",
    "key_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"File with the key that encrypts bodies, or several, the newest first; by default {_KEY_VARIABLE} has it.",
)


def _reported(command: Callable[..., Any]) -> Callable[..., Any]:
    """Turn an error that is no mistake of the code into one line."""

    @wraps(command)
    def wrapper(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except LinqError as error:
            raise click.ClickException(str(error)) from None
        except OSError as error:
            raise click.ClickException(f"{error.filename or 'file'}: {error.strerror or error}") from None

    return wrapper


def _encryption_key(file: Path | None) -> bytes | None:
    """Return the archive key, None if there is none.

    Raises:
        SettingsError: there is none, and a variable has nearly its name: bodies would not be encrypted.
    """
    if file is not None:
        return file.read_bytes()
    value = os.environ.get(_KEY_VARIABLE)
    if value is not None:
        return value.encode()
    for name in os.environ:
        # Its last words, too: LINQ_WEBHOOK_SECRET_KEY is like it as a whole, and may be somebody's own.
        if closest_name(name, [_KEY_VARIABLE]) and closest_name(name.split("_", 2)[-1], ["ENCRYPT_KEY"]):
            raise SettingsError(f"{name} (environment): is no variable, did you mean {_KEY_VARIABLE}?")
    return None


@click.group(context_settings={"max_content_width": 110, "show_default": True})
@click.version_option(package_name="linq-connectors")
def group() -> None:
    """Receive the webhooks of the Linq Partner API, and keep what they deliver."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    # A line for each connection of whoever scans ports would fill the disk.
    logging.getLogger("uvicorn.error").addFilter(lambda record: record.msg != "Invalid HTTP request received.")


@group.command()
@archive_option
@key_option
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option("--port", default=8080, type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one.")
@click.option("--path", default=DEFAULT_PATH, help="Path of the target URL.")
@click.option(
    "--secret-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File with a line `<subscription id> whsec_...` for each signing secret; by default the environment variable "
    f"{_SECRET_VARIABLE} has such lines, or a secret alone.",
)
@click.option(
    "--spool",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for events while the archive is down. Each receiver needs one of its own.",
)
@click.option(
    "--max-body-bytes", default=DEFAULT_MAX_BODY_BYTES, type=click.IntRange(1000), help="Larger bodies are refused."
)
@click.option(
    "--deprecated-headers/--no-deprecated-headers",
    default=True,
    help="Whether X-Webhook-* headers count where the webhook-* headers are missing.",
)
@click.option("--certificate", type=click.Path(exists=True, dir_okay=False), help="TLS certificate; else plain HTTP.")
@click.option("--certificate-key", type=click.Path(exists=True, dir_okay=False), help="Key of the certificate.")
@_reported
def serve(
    archive: str,
    key_file: Path | None,
    host: str,
    port: int,
    path: str,
    secret_file: Path | None,
    spool: Path | None,
    max_body_bytes: int,
    deprecated_headers: bool,
    certificate: str | None,
    certificate_key: str | None,
) -> None:
    """Store what the platform delivers, and acknowledge it when it is durable.

    Prints one line of JSON when connections are accepted. SIGTERM and SIGINT end it, when all is stored that was under
    way.
    """
    if not path.startswith("/"):
        raise click.BadParameter(f"must begin with /, got {path!r}", param_hint="--path")
    key = _encryption_key(key_file)
    secrets = SecretsFile(secret_file) if secret_file is not None else _secrets_of_environment()
    app = create_app(
        open_archive(archive, encryption_key=key),
        secrets,
        path=path,
        spool=spool,
        cipher=BodyCipher(key) if key is not None else None,
        max_body_bytes=max_body_bytes,
        allow_deprecated_headers=deprecated_headers,
    )

    def say(port: int) -> None:
        print(json.dumps({"host": host, "port": port, "path": path}), flush=True)

    server = Server(app, host, port, on_ready=lambda: say(server.port), certificate=certificate, key=certificate_key)
    # uvicorn raises the signals again after its shutdown. To be asked to stop is no failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    server.serve_until_stopped()


def _secrets_of_environment() -> SigningSecrets:
    return SigningSecrets(parse_secrets(os.environ.get(_SECRET_VARIABLE, "").splitlines(), _SECRET_VARIABLE))


event_option = click.option(
    "--event",
    "events",
    multiple=True,
    default=DEFAULT_EVENTS,
    show_default=False,
    help="An event that it must have; repeat it. By default, all of messages, reactions, participants and chats.",
)
line_option = click.option(
    "--line", "lines", multiple=True, help="A line that it must cover; repeat it. By default, all lines."
)


@group.command()
@click.argument("url")
@event_option
@line_option
@click.option(
    "--secret-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the signing secret is added, with mode 600; without it, it is printed, once.",
)
@click.option(
    "--new-secret", is_flag=True, help="Make another subscription, with another secret, and end what the URL has."
)
@_reported
def subscribe(
    url: str, events: tuple[str, ...], lines: tuple[str, ...], secret_file: Path | None, new_secret: bool
) -> None:
    """Make sure that a subscription delivers to URL. LINQ_API_KEY has the API key.

    It is created, or updated if it lacks something or was disabled. What it has besides stays.
    """

    def keep(subscription_id: str, secret: str) -> None:
        if secret_file is not None:
            add_secret(secret_file, subscription_id, secret)
        else:
            print(f"{subscription_id} {secret}", flush=True)

    with LinqClient() as client:
        outcome = ensure_subscription(
            client,
            url,
            events,
            phone_numbers=lines or None,
            known=None if secret_file is None else known_subscriptions(secret_file),
            renew_secret=new_secret,
            keep_secret=keep,
        )
    click.echo(f"subscription {outcome.subscription.id}: {outcome.action}", err=True)
    if secret_file is not None and outcome.subscription.id not in known_subscriptions(secret_file):
        raise SettingsError(
            f"secret file {secret_file}: has no secret of subscription {outcome.subscription.id}, and the API tells it "
            "only when a subscription is made; add it, or run this with --new-secret"
        )


@group.command()
@click.argument("url")
@event_option
@line_option
@_reported
def check(url: str, events: tuple[str, ...], lines: tuple[str, ...]) -> None:
    """Say whether the subscription of URL is active and has what it needs; end with 1 if not."""
    with LinqClient() as client:
        subscription = find_subscription(client, url)
    if subscription is None:
        raise SettingsError("there is no subscription of this URL; run linq-webhooks subscribe")
    problems = problems_of(subscription, events, lines or None)
    if problems:
        raise SettingsError(f"subscription {subscription.id}: {'; '.join(problems)}; run linq-webhooks subscribe")
    click.echo(f"subscription {subscription.id}: active, {len(subscription.subscribed_events)} events")


@group.command()
@archive_option
@_reported
def compact(archive: str) -> None:
    """Write the small files of each closed hour into one. Receivers and readers may run meanwhile."""
    done = maintenance.compact(archive)
    click.echo(f"{done.segments} files of {done.hours} hours merged, {done.events} events")


@group.command()
@click.argument("handle")
@click.option(
    "--chat",
    "chats",
    multiple=True,
    help="Id of a chat of which all goes, where events don't tell whose it is; repeat it.",
)
@archive_option
@key_option
@_reported
def erase(handle: str, chats: tuple[str, ...], archive: str, key_file: Path | None) -> None:
    """Remove the events in which HANDLE occurs, and all of the direct chats with it.

    In files, those of the last 3 hours stay, and the newest hour for a day, or until later events come. It ends with 1
    if something is left: run it again then.
    """
    done = maintenance.erase(archive, handle, chats=chats, encryption_key=_encryption_key(key_file))
    click.echo(f"{done.erased} events erased")
    if done.left:
        raise click.ClickException(
            f"{done.left} events are left, in files of the last hours; run this again in 4 hours, or in 26 if nothing "
            "comes in meanwhile"
        )


@group.command()
def new_key() -> None:
    """Print a new key for --encrypt-key. What it encrypts is lost with it."""
    click.echo(BodyCipher.new_key())


def main(prog_name: str | None = None) -> None:
    """Run the command line. What is wrong is reported in one line."""
    try:
        group.main(prog_name=prog_name or "linq-webhooks", standalone_mode=False)
    except click.ClickException as error:
        print(f"linq-webhooks: {error.format_message()}", file=sys.stderr)
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)
