"""A client of the test's own emulator."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from linq_client import LinqClient
from tests.support.emulator_process import Emulator


@pytest.fixture
def client(emulator: Emulator) -> Iterator[LinqClient]:
    with LinqClient(emulator.api_key, base_url=emulator.base_url) as opened:
        yield opened
