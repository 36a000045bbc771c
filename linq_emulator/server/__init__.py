"""The API over HTTP. A request takes this way: http_server, gateway, endpoints."""

from __future__ import annotations
