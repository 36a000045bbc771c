"""Files: /v3/attachments."""

from __future__ import annotations

import io
import mimetypes
from pathlib import Path
from typing import IO, Final

from linq_client import models
from linq_client._transport import LARGEST_FILE, bytes_left
from linq_client.errors import APIConnectionError, Effect, InvalidRequestError, RequestKind
from linq_client.resources._base import Resource, path_to

__all__ = ["MAX_ATTACHMENT_BYTES", "Attachments"]

MAX_ATTACHMENT_BYTES: Final = LARGEST_FILE


class Attachments(Resource):
    """Files to send, and files received."""

    def create(self, filename: str, content_type: str, size_bytes: int) -> models.UploadSlot:
        """Announce a file and get the URL to put its bytes to, valid for 15 minutes (POST /v3/attachments).

        `upload` does this and the rest.

        Args:
            filename: 1 to 255 characters.
            content_type: MIME type.
            size_bytes: 1 to 104,857,600.
        """
        if not 1 <= len(filename) <= 255:
            raise InvalidRequestError(f"filename: must be 1 to 255 characters, got {len(filename)}")
        if not 1 <= size_bytes <= MAX_ATTACHMENT_BYTES:
            raise InvalidRequestError(f"size_bytes: must be 1 to {MAX_ATTACHMENT_BYTES}, got {size_bytes}")
        body = {"filename": filename, "content_type": content_type, "size_bytes": size_bytes}
        # A second slot does no harm: one that is never filled goes away by itself.
        return self._call(models.UploadSlot, "POST", "/v3/attachments", json=body, kind=RequestKind.READ)

    def upload(
        self, file: bytes | IO[bytes] | Path | str, *, filename: str | None = None, content_type: str | None = None
    ) -> str:
        """Store a file on the platform and return its attachment id, to be sent any number of times.

        Args:
            file: bytes, a seekable binary file, or a path.
            filename: as the recipient sees it; needed unless `file` is a path.
            content_type: MIME type; guessed from the file name if None.
        """
        if isinstance(file, Path | str):
            with Path(file).open("rb") as opened:
                return self.upload(opened, filename=filename or Path(file).name, content_type=content_type)
        if filename is None:
            raise InvalidRequestError("filename: must be given unless the file is a path, got none")
        guessed = content_type or mimetypes.guess_type(filename)[0]
        if guessed is None:
            raise InvalidRequestError(f"content_type: must be given, can't be guessed from filename {filename!r}")
        data = io.BytesIO(file) if isinstance(file, bytes) else file
        slot = self.create(filename, guessed, bytes_left(data))
        self._client.transfer(slot.http_method, slot.upload_url, data=data, headers=slot.required_headers)
        return slot.attachment_id

    def get(self, attachment_id: str) -> models.Attachment:
        """Get what is known of a file, with a fresh `download_url` (GET /v3/attachments/{id})."""
        path = path_to("/v3/attachments/{}", attachment_id=attachment_id)
        return self._call(models.Attachment, "GET", path)

    def download(self, attachment_id: str, into: IO[bytes], *, max_bytes: int = MAX_ATTACHMENT_BYTES) -> int:
        """Write the bytes of a file to a seekable binary file and return their number.

        Raises:
            NotFoundError: no such attachment, or its bytes are gone.
            FileTooLargeError: it is larger than `max_bytes`.
        """
        url = self.get(attachment_id).download_url
        if url is None:
            raise APIConnectionError(f"attachment {attachment_id}: the API gave no download_url", effect=Effect.NONE)
        return self._client.transfer("GET", url, into=into, max_bytes=max_bytes)

    def delete(self, attachment_id: str) -> None:
        """Delete a file for good; messages that carry it stay (DELETE /v3/attachments/{id})."""
        self._do("DELETE", path_to("/v3/attachments/{}", attachment_id=attachment_id))
