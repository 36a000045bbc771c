"""The error codes of the API and its error envelope.

Statuses and meanings: API reference, error codes; 2022 and later: linq-python 0.65.0 docstrings.
"""

from __future__ import annotations

import msgspec

__all__ = ["CODES", "DOCS", "ApiError"]

DOCS = "https://docs.linqapp.com"

# code -> (HTTP status, name). docs/reference/emulator.md lists the statuses that the reference leaves open.
CODES: dict[int, tuple[int, str]] = {
    1001: (400, "Missing required field"),
    1002: (400, "Invalid phone number or handle"),
    1003: (400, "Invalid request body"),
    1004: (400, "Invalid message content"),
    1005: (400, "Invalid parameter value"),
    1006: (409, "Cannot update a direct chat"),
    1007: (429, "Rate limit exceeded"),
    1008: (400, "Invalid iMessage app message"),
    2001: (404, "Chat not found"),
    2002: (404, "Message not found"),
    2003: (404, "Attachment not found"),
    2004: (401, "Unauthorized"),
    2005: (403, "Access denied"),
    2006: (403, "Phone number not permitted"),
    2007: (404, "Attachment not ready"),
    2008: (403, "Recipient not allowed"),
    2009: (409, "Chat is still being created"),
    2010: (404, "Webhook subscription not found"),
    2011: (403, "Feature not available"),
    2012: (404, "Contact card not found"),
    2013: (409, "Chat unavailable"),
    2014: (409, "Contact card already exists"),
    2015: (409, "Conflicts with the current state"),
    2016: (409, "Not supported for group chats"),
    2017: (409, "Not supported for this service"),
    2018: (409, "iMessage app messages need iMessage"),
    2019: (404, "Phone number not found"),
    2023: (409, "Mention in a direct chat"),
    2024: (403, "Recipient opted out"),
    2026: (403, "Handle is blocked"),
    2027: (403, "Phone number is temporarily ineligible"),
    2028: (409, "App Clip messages need iMessage"),
    3006: (500, "Internal server error"),
    4004: (503, "Service unavailable"),
    4009: (503, "No RCS account on this line"),
    4010: (503, "The RCS check could not run"),
    5001: (413, "File too large to upload"),
    5004: (400, "Unsupported file type"),
    5005: (400, "File size out of range"),
    5006: (400, "File type does not match"),
}


class ApiError(Exception):
    """An error that is sent as the error envelope.

    Args:
        code: The vendor's code. `CODES` has its default status.
        detail: The field and the rule that it breaks, in one sentence; never message text or the key.
        status: HTTP status, if it is not the default of the code.
        retry_after: Whole seconds, for 429 only; also sent as the ``Retry-After`` header.
    """

    def __init__(
        self, code: int, detail: str = "", *, status: int | None = None, retry_after: int | None = None
    ) -> None:
        default, name = CODES.get(code, (500, "Error"))
        self.code = code
        self.status = default if status is None else status
        self.message = f"{name}: {detail}" if detail else name
        self.retry_after = retry_after
        super().__init__(self.message)

    def body(self, trace_id: str) -> bytes:
        """The envelope as JSON."""
        error: dict[str, object] = {
            "status": self.status,
            "code": self.code,
            "message": self.message,
            "doc_url": f"{DOCS}/error-codes/{self.code}",
        }
        if self.retry_after is not None:
            error["retry_after"] = self.retry_after
        return msgspec.json.encode({"success": False, "error": error, "trace_id": trace_id})
