"""Attachments: their types, their signed URLs, and placeholders for media that was sent by URL.

URLs point to the emulator and carry a token instead of the bearer key (API reference, attachments). Media of
other URLs is never downloaded: a placeholder of a few bytes replaces it.
"""

from __future__ import annotations

import hmac
import mimetypes
from collections.abc import Iterable
from hashlib import sha256
from posixpath import basename
from urllib.parse import quote, unquote, urlencode, urlsplit

from linq_emulator.clock import DAY, HOUR, MINUTE, SECOND, Clock
from linq_emulator.domain.models import Attachment
from linq_emulator.errors import ApiError
from linq_emulator.store import Store
from linq_emulator.switches import Switches

__all__ = ["CONTENT_TYPES", "MAX_BY_URL", "MAX_UPLOAD", "UPLOAD_WINDOW", "VOICE_TYPES", "Media", "type_of_name"]

UPLOAD_WINDOW = 15 * MINUTE
EPHEMERAL_URL = 15 * MINUTE
EPHEMERAL_FILE = 24 * HOUR
VCARD_URL = DAY
"""That it expires is documented, and not when."""
MAX_UPLOAD = 104_857_600
MAX_BY_URL = 10 * 1024 * 1024

# linq-python 0.65.0 types/supported_content_type.py
CONTENT_TYPES = [
    "image/jpeg",
    "image/png",
    "image/gif",
    "image/heic",
    "image/heif",
    "image/tiff",
    "image/bmp",
    "image/svg+xml",
    "image/webp",
    "image/x-icon",
    "video/mp4",
    "video/quicktime",
    "video/mpeg",
    "video/mpeg2",
    "video/x-m4v",
    "video/x-msvideo",
    "video/3gpp",
    "audio/mpeg",
    "audio/mp3",
    "audio/x-m4a",
    "audio/mp4",
    "audio/x-caf",
    "audio/x-wav",
    "audio/x-aiff",
    "audio/aiff",
    "audio/aac",
    "audio/midi",
    "audio/amr",
    "application/pdf",
    "application/vnd.apple.pkpass",
    "text/plain",
    "text/markdown",
    "text/vcard",
    "text/rtf",
    "text/csv",
    "text/html",
    "text/calendar",
    "application/msword",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/vnd.ms-excel",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.ms-powerpoint",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "application/x-iwork-pages-sffpages",
    "application/x-iwork-numbers-sffnumbers",
    "application/x-iwork-keynote-sffkey",
    "application/epub+zip",
    "text/xml",
    "application/json",
    "application/zip",
    "application/x-gzip",
]

# linq-python 0.65.0 resources/chats/chats.py, send_voicememo
VOICE_TYPES = [
    "audio/mpeg",
    "audio/mp3",
    "audio/x-m4a",
    "audio/mp4",
    "audio/aac",
    "audio/x-caf",
    "audio/x-wav",
    "audio/aiff",
    "audio/x-aiff",
    "audio/amr",
]

# Extensions that Python's table lacks, or maps to another type on some systems.
_EXTENSIONS = {
    ".m4a": "audio/x-m4a",
    ".caf": "audio/x-caf",
    ".wav": "audio/x-wav",
    ".aiff": "audio/x-aiff",
    ".aac": "audio/aac",
    ".amr": "audio/amr",
    ".mp3": "audio/mpeg",
    ".heic": "image/heic",
    ".webp": "image/webp",
    ".vcf": "text/vcard",
    ".rtf": "text/rtf",
    ".md": "text/markdown",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
    ".exe": "application/x-msdownload",
}


def type_of_name(name: str) -> str | None:
    """The media type of a file name's extension."""
    suffix = "." + name.rsplit(".", 1)[-1].lower() if "." in name else ""
    return _EXTENSIONS.get(suffix) or mimetypes.guess_type(name)[0]


class Media:
    """URLs of attachments, and attachments for URLs.

    Args:
        origin: Scheme, host and port of the server.
        clock: Decides when a URL has expired.
        switches: Have the tier of attachments, the lifetime of a media URL, and how long a fetch takes.
        secret: Signs the URLs.
    """

    def __init__(self, origin: str, clock: Clock, switches: Switches, secret: bytes) -> None:
        self.origin = origin
        self._clock = clock
        self._switches = switches
        self._secret = secret
        self._fetched: set[str] = set()
        self._fetch_seconds = 0.0
        self._added: list[Attachment] = []

    @property
    def _is_ephemeral(self) -> bool:
        return self._switches.attachment_tier == "ephemeral"

    @property
    def urls_expire(self) -> bool:
        """Whether media URLs in messages expire."""
        return self._is_ephemeral or self._switches.media_url_seconds > 0

    def content(self, attachment: Attachment) -> bytes | None:
        """The file of an attachment; None before its upload and, on the ephemeral tier, a day after it."""
        is_gone = self._is_ephemeral and self._clock.now() >= attachment.uploaded_at + EPHEMERAL_FILE
        return None if is_gone else attachment.content

    def fetch(self, url: str) -> None:
        """Take the time that the platform needs to fetch a file of another server, the first time."""
        if url not in self._fetched:
            self._fetched.add(url)
            self._fetch_seconds += self._switches.media_fetch_seconds

    def begin_request(self) -> None:
        """Forget what earlier requests and contacts have fetched and added."""
        self._fetch_seconds = 0.0
        self._added.clear()

    def undo_request(self, store: Store) -> None:
        """Remove the placeholders of a request that was refused in the end."""
        for placeholder in self._added:
            del store.attachments[placeholder.id]

    def take_fetch_seconds(self) -> float:
        """Real seconds that the fetches since the last call take."""
        seconds, self._fetch_seconds = self._fetch_seconds, 0.0
        return seconds

    def _token(self, purpose: str, name: str, valid_until: int) -> str:
        text = f"{purpose}/{name}/{valid_until}"
        return hmac.new(self._secret, text.encode(), sha256).hexdigest()

    def url(self, attachment: Attachment) -> str:
        """The URL of a file in a message."""
        return self._url(attachment, int(self._switches.media_url_seconds * SECOND))

    def download_url(self, attachment: Attachment) -> str:
        """The URL of a file that works as long as the attachment exists; on the ephemeral tier for 15 minutes."""
        return self._url(attachment, 0)

    def _url(self, attachment: Attachment, lifetime: int) -> str:
        lifetime = EPHEMERAL_URL if self._is_ephemeral else lifetime
        valid_until = self._clock.now() + lifetime if lifetime else 0
        token = self._token("get", attachment.id, valid_until)
        name = quote(attachment.filename, safe="")
        return f"{self.origin}/_media/{attachment.id}/{name}?until={valid_until}&token={token}"

    def upload_url(self, attachment: Attachment) -> str:
        """The URL to which a file is uploaded."""
        token = self._token("put", attachment.id, attachment.upload_until)
        return f"{self.origin}/_upload/{attachment.id}?until={attachment.upload_until}&token={token}"

    def vcard_url(self, line_id: str, left_out: Iterable[str]) -> str:
        """The URL of the contact card of a line, without the other lines that are left out. It expires."""
        valid_until = self._clock.now() + VCARD_URL
        exclude = ",".join(sorted(left_out))
        token = self._token("vcard", f"{line_id}/{exclude}", valid_until)
        query = urlencode({"exclude": exclude, "until": valid_until, "token": token})
        return f"{self.origin}/_media/vcard/{line_id}.vcf?{query}"

    def allows(self, purpose: str, name: str, until: str, token: str) -> bool:
        """Whether a URL was signed here, for ``get``, ``put`` or ``vcard`` of this name, and has not expired."""
        if not (until.isascii() and until.isdigit() and len(until) < 16 and token.isascii()):
            return False
        valid_until = int(until)
        is_signed = hmac.compare_digest(self._token(purpose, name, valid_until), token)
        return is_signed and (valid_until == 0 or self._clock.now() < valid_until)

    def find(self, store: Store, url: str) -> Attachment | None:
        """The attachment of one of the emulator's own download URLs; None for other URLs."""
        prefix = f"{self.origin}/_media/"
        if not url.startswith(prefix):
            return None
        attachment = store.attachments.get(url[len(prefix) :].split("/", 1)[0])
        return None if attachment is None or attachment.deleted else attachment

    def find_or_add(self, store: Store, url: str, allowed: list[str], now: int) -> Attachment:
        """The attachment of a URL that was sent: its own one, or a new placeholder.

        Raises:
            ApiError: 5004 if its type is not allowed.
        """
        existing = self.find(store, url)
        if existing is not None:
            return existing
        filename = unquote(basename(urlsplit(url).path)) or "file"
        content_type = type_of_name(filename) or allowed[0]
        if content_type not in allowed:
            raise ApiError(5004, f"{content_type} cannot be sent")
        content = b"placeholder of the emulator, which downloads nothing\n"
        placeholder = Attachment(
            store.new_id(), filename, content_type, len(content), now, content=content, uploaded_at=now
        )
        store.attachments[placeholder.id] = placeholder
        self._added.append(placeholder)
        return placeholder
