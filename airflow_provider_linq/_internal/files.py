"""Files that are there in full or not at all, on a disk or in an object store."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from airflow.sdk import ObjectStoragePath


@contextmanager
def replacing(target: ObjectStoragePath, *, keep: bool = True) -> Iterator[Path]:
    """
    Give a local file to write, which takes the place of the target when it is complete.

    :param keep: false to see only whether a file could be written there, as far as that can be known.
    """
    local = target.protocol in ("", "file", "local")
    folder = Path(target.path).parent if local else None
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)  # beside the target, since a rename can't leave the file system
    with TemporaryDirectory(dir=folder, prefix=".linq-") as temporary:
        file = Path(temporary) / "file"
        yield file
        if not keep:
            return
        if local:
            os.replace(file, target.path)
        else:
            with_folder(target, lambda: target.fs.put_file(str(file), target.path))


def write_whole(file: ObjectStoragePath, data: bytes) -> None:
    """Write a file so that a reader sees it in full, before or after; its folder is made."""
    with_folder(file, lambda: _write(file, data))


def _write(file: ObjectStoragePath, data: bytes) -> None:
    if file.protocol not in ("", "file", "local"):
        file.fs.pipe_file(file.path, data)
        return
    fresh = Path(f"{file.path}.{uuid.uuid4().hex}")
    fresh.write_bytes(data)
    os.replace(fresh, file.path)


def with_folder(file: ObjectStoragePath, write: Callable[[], object]) -> None:
    """Make the folder of a file if it can't be written without; object stores have none."""
    try:
        write()
    except FileNotFoundError:
        file.fs.makedirs(file.parent.path, exist_ok=True)
        write()
