"""Files of this machine that survive a loss of power."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import IO
from uuid import uuid4

__all__ = ["create", "remove", "rename", "replace", "write", "writing"]

# Others on the machine have no business with what people wrote; a group may be let in to read.
_FILE_MODE = 0o640
_FOLDER_MODE = 0o750


def create(path: str) -> int:
    """Create a file for appending, whose name survives too, and return its descriptor.

    Raises:
        FileExistsError: there is one already.
    """
    _make_folders(os.path.dirname(path))
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, _FILE_MODE)
    _sync_folder(os.path.dirname(path))
    return descriptor


def replace(path: str, content: bytes) -> None:
    """Write a whole file, or none."""
    with writing(path) as file:
        file.write(content)


@contextlib.contextmanager
def writing(path: str) -> Iterator[IO[bytes]]:
    """Write a file of any size: all of it is under this name when the block has ended, and nothing if it raised."""
    beside = f"{path}.{uuid4().hex}.new"
    descriptor = create(beside)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(descriptor)
        rename(beside, path)
    except BaseException:
        remove(beside)
        raise


def rename(path: str, to: str) -> None:
    """Give a file another name, which survives too."""
    os.replace(path, to)
    _sync_folder(os.path.dirname(to))


def write(descriptor: int, content: bytes) -> None:
    """Write all of it."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _make_folders(path: str) -> None:
    """Make a folder, and those above it that are missing."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    _make_folders(parent)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, _FOLDER_MODE)
        _sync_folder(parent)


def _sync_folder(path: str) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: str) -> None:
    """Remove a file that may be gone already."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
