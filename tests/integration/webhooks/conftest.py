"""What the tests of the receiver share."""

from __future__ import annotations

from tests.support.webhook_receiver import patient_receivers

__all__ = ["patient_receivers"]
