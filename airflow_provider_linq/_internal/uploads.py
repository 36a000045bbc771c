"""Files in a message: a media part may name a local or object-store file, which is uploaded before the send.

A path reads what the worker can read, so data must not choose it: see :class:`FileRules`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from airflow.sdk import ObjectStoragePath

from airflow_provider_linq._internal.arguments import is_nothing
from airflow_provider_linq._internal.rendering import is_template
from airflow_provider_linq._internal.version_compat import connection_of, storage_path
from linq_client import InvalidRequestError, LinqClient, Media, Message, MessageLike, Text, message_from

#: Stands for an attachment id where a message is checked before its files are uploaded.
_NOT_YET = "not-uploaded-yet"

#: What `ObjectStoragePath` calls the file system of the worker.
_LOCAL: Final = ("", "file", "local")


@dataclass(frozen=True)
class FileRules:
    """
    Which files a message may name.

    What the DAG's author has written as it is, is always allowed. What comes from a template, from another task, a row
    or a JSON document is data that a stranger may have written: it is allowed in the folders that the author names.

    :param written: paths that the DAG's author has written, see `paths_written_in`.
    :param under: folders, local or of an object store, whose files data may name.
    """

    written: frozenset[str] = frozenset()
    under: tuple[str, ...] = ()

    @classmethod
    def of(cls, author: object, files_under: str | Sequence[str] | None) -> FileRules:
        """
        Return the rules of a task, when the DAG is parsed.

        :param author: the message, or the path, as the DAG's author has written it; None if it is data.
        :param files_under: a folder, or several.
        :raises ValueError: in Airflow's way, so that the DAG shows an import error.
        """
        if not isinstance(files_under, str | Sequence | Set | None):
            raise ValueError(f"files_under must be a folder or a list of folders, got {files_under!r}")
        folders = (files_under,) if isinstance(files_under, str) else tuple(files_under or ())
        for folder in folders:
            if not isinstance(folder, str) or is_template(folder) or _is_a_root(folder):
                raise ValueError(f"files_under must be folders or URLs, written as they are, got {folder!r}")
        return cls(frozenset(_paths_written_in(author)), folders)

    def as_data(self) -> FileRules:
        """Return the rules where all paths are data, those of the message itself too."""
        return FileRules(under=self.under)

    def check(self, path: str, field: str) -> None:
        """
        Refuse a path that data may not name.

        :raises InvalidRequestError: it is neither written in the DAG file nor in one of the folders.
        """
        if path not in self.written and not any(_is_under(path, folder) for folder in self.under):
            allowed = f"lie in one of {', '.join(self.under)}" if self.under else "have files_under, which it lies in"
            raise InvalidRequestError(f"{field}: must be written as it is in the DAG file, or {allowed}, got {path!r}")


#: No file at all.
NO_FILES: Final = FileRules()


def _paths_written_in(author: object) -> Iterator[str]:
    """Yield the paths of a message, or a path, as an author wrote it; one with a template in it is made by data."""
    if isinstance(author, str):
        if not is_template(author):
            yield author
    elif isinstance(author, Mapping):
        yield from _paths_written_in(author.get("path"))
        yield from _paths_written_in(author.get("parts"))
    elif isinstance(author, list | tuple):
        for part in author:
            if isinstance(part, Mapping):
                yield from _paths_written_in(part)


def _is_under(path: str, folder: str) -> bool:
    """Whether a file lies in a folder, once links and dots are resolved; not if that can't be said."""
    if "::" in path:  # fsspec would open a chain of file systems, of which only the first is seen here
        return False
    try:
        file, base = storage_path(path), storage_path(folder)
        if file.protocol in _LOCAL and base.protocol in _LOCAL:
            root, real = _real(base), _real(file)
            return real != root and os.path.commonpath([root, real]) == root
    except (ValueError, ImportError):  # no such file system, or a NUL or half a character, which no file name has
        return False
    # An object store has no links, and to some of them two dots are a name like any other, in any spelling.
    steps = file.parts
    names = {name for step in steps for name in re.split(r"[/\\]", unquote(step))}
    same = (file.protocol, connection_of(file), steps[: len(base.parts)]) == (
        base.protocol,
        connection_of(base),
        base.parts,
    )
    return same and len(steps) > len(base.parts) and ".." not in names


def _is_a_root(folder: str) -> bool:
    """Whether a folder stands for all of a machine, of a home or of an object store, or for nothing."""
    scheme, _, path = folder.rpartition("://")
    if scheme not in _LOCAL:
        return not path.strip("/. ")
    names = path.strip()
    return not names or names.startswith("~") or os.path.abspath(names) == os.sep


def _real(local: ObjectStoragePath) -> str:
    """Return where a local path leads; the file system takes a leading ~ for a home, wherever the path came from."""
    return os.path.realpath(os.path.expanduser(local.path))


def check_message(message: MessageLike, files: FileRules = NO_FILES) -> Message:
    """
    Build and check a message, with its files as if they were uploaded.

    :param files: which files it may name.
    :raises InvalidRequestError: a rule is broken, or a text is what a template makes of nothing.
    """

    def check(path: str, field: str) -> str:
        files.check(path, field)
        return _NOT_YET

    checked = message_from(_with_files(message, check))
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
    Build a message that `check_message` has accepted with the attachment ids of the files that it names.

    :param attachment_of: uploads the file of a path, see `upload`.
    :raises InvalidRequestError: a file is not there, or not one that can be sent.
    """
    return message_from(_with_files(message, lambda path, field: attachment_of(path)))


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
    try:
        file = storage_path(path)
        opened = file.open("rb")  # type: ignore[no-untyped-call]
    # Others, of the network say, can pass. A ValueError: no such file system, or a name that can be none.
    except (FileNotFoundError, IsADirectoryError, PermissionError, ValueError) as error:
        raise InvalidRequestError(f"path: must be a file that can be read, got {path!r}") from error
    with opened:
        return client.attachments.upload(opened, filename=file.name)


def _with_files(message: MessageLike, attachment_of: Callable[[str, str], str]) -> MessageLike:
    """Put `attachment_id` in the place of `path` in each media part."""
    if isinstance(message, Mapping):
        return {**message, "parts": _parts(message.get("parts"), attachment_of)}
    return message if isinstance(message, Message) else _parts(message, attachment_of)


def _parts(parts: Any, attachment_of: Callable[[str, str], str]) -> Any:
    if not isinstance(parts, Sequence) or isinstance(parts, str | bytes | bytearray):
        return parts
    return [_part(part, f"message.parts[{index}]", attachment_of) for index, part in enumerate(parts)]


def _part(part: Any, field: str, attachment_of: Callable[[str, str], str]) -> Any:
    if not isinstance(part, Mapping) or "path" not in part:
        return part
    if "url" in part or "attachment_id" in part:
        raise InvalidRequestError(f"{field}: give path, url or attachment_id, got more than one of them")
    if not isinstance(part["path"], str) or not part["path"]:
        raise InvalidRequestError(f"{field}.path: must be a path or URL, got {part['path']!r}")
    rest = {name: value for name, value in part.items() if name != "path"}
    return {"type": "media", **rest, "attachment_id": attachment_of(part["path"], f"{field}.path")}
