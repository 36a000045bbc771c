"""What the tests of the tap share."""

from __future__ import annotations

from tests.support.tap import after_each_page

__all__ = ["after_each_page"]
