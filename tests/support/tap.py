"""The world moves while the tap reads."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from linq_client import LinqClient


@pytest.fixture
def after_each_page(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Call something after each page of a path that the client has read: the world moves while the tap reads."""

    def install(path: str, happen: Any) -> None:
        request, pages = LinqClient.request, itertools.count(1)

        def watched(self: LinqClient, method: str, requested: str, **options: Any) -> Any:
            reply = request(self, method, requested, **options)
            if requested == path:
                happen(next(pages))
            return reply

        monkeypatch.setattr(LinqClient, "request", watched)

    return install
