"""The HTTP server under all those that tests put something behind: on loopback, a thread for each connection."""

from __future__ import annotations

import sys
from http.server import ThreadingHTTPServer
from typing import Any

__all__ = ["LoopbackServer"]


class LoopbackServer(ThreadingHTTPServer):
    """A server whose clients may come together, and may leave when they like.

    Args:
        handler: makes the responses.
        port: to listen on; 0 takes a free one.
    """

    #: Python's own is 5. A connection that finds no room is tried again after one second, three and seven, which is too
    #: late for a client that gives up after ten, as who delivers webhooks does.
    request_queue_size = 128

    def __init__(self, handler: Any, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), handler)

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report what a handler raises, but for clients that have left: that may come out in a later test."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)
