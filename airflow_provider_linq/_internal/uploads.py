"""Files in a message: a media part may name a local or object-store file, which is uploaded before the send."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from airflow.sdk import ObjectStoragePath

from airflow_provider_linq._internal.arguments import is_nothing
from linq_client import InvalidRequestError, LinqClient, Media, Message, MessageLike, Text, message_from

#: Stands for an attachment id where a message is checked before its files are uploaded.
_NOT_YET = "not-uploaded-yet"


def check_message(message: MessageLike) -> Message:
    """
    Build and check a message, with its files as if they were uploaded.

    :raises InvalidRequestError: a rule is broken, or a text is what a template makes of nothing.
    """
    checked = message_from(_with_files(message, lambda path: _NOT_YET))
    for index, part in enumerate(checked.parts):
        if isinstance(part, Text) and is_nothing(part.value):
            raise InvalidRequestError(
                f"message.parts[{index}].value: must say something, got {part.value[:10]!r}, which looks like a "
                "template that rendered to nothing"
            )
    return checked


def names_files(checked: Message) -> bool:
    """Whether a message that `check_message` returned stands for one with files, which are to be uploaded."""
    return any(isinstance(part, Media) and part.attachment_id == _NOT_YET for part in checked.parts)


def with_uploads(message: MessageLike, attachment_of: Callable[[str], str]) -> Message:
    """
    Build a message with the attachment ids of the files that it names.

    :param attachment_of: uploads the file of a path, see `upload`.
    :raises InvalidRequestError: a file is not there, or not one that can be sent.
    """
    return message_from(_with_files(message, attachment_of))


def with_key(message: Message, key: str) -> Message:
    """
    Return a message with an idempotency key.

    :raises InvalidRequestError: it can't be one.
    """
    return message_from({**message.to_wire(), "idempotency_key": key})


def upload(path: str, client: LinqClient) -> str:
    """
    Upload a file of any storage that Airflow knows, and return its attachment id.

    :param path: a local path, or a URL such as ``s3://conn_id@bucket/key``.
    """
    file = ObjectStoragePath(path)
    try:
        with file.open("rb") as opened:  # type: ignore[no-untyped-call]
            return client.attachments.upload(opened, filename=file.name)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:  # others, of the network say, can pass
        raise InvalidRequestError(f"path: must be a file that can be read, got {path!r}") from error


def _with_files(message: MessageLike, attachment_of: Callable[[str], str]) -> MessageLike:
    """Put `attachment_id` in the place of `path` in each media part."""
    if isinstance(message, Mapping):
        return {**message, "parts": _parts(message.get("parts"), attachment_of)}
    return message if isinstance(message, Message) else _parts(message, attachment_of)


def _parts(parts: Any, attachment_of: Callable[[str], str]) -> Any:
    if not isinstance(parts, Sequence) or isinstance(parts, str | bytes | bytearray):
        return parts
    return [_part(part, f"message.parts[{index}]", attachment_of) for index, part in enumerate(parts)]


def _part(part: Any, field: str, attachment_of: Callable[[str], str]) -> Any:
    if not isinstance(part, Mapping) or "path" not in part:
        return part
    if "url" in part or "attachment_id" in part:
        raise InvalidRequestError(f"{field}: give path, url or attachment_id, got more than one of them")
    if not isinstance(part["path"], str) or not part["path"]:
        raise InvalidRequestError(f"{field}.path: must be a path or URL, got {part['path']!r}")
    rest = {name: value for name, value in part.items() if name != "path"}
    return {"type": "media", **rest, "attachment_id": attachment_of(part["path"])}
