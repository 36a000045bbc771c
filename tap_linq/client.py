"""The base of all streams: what the Singer SDK has to be told once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from singer_sdk import Stream
from singer_sdk.helpers.conform import TypeConformanceLevel
from typing_extensions import override

if TYPE_CHECKING:
    from tap_linq.extraction.run import Run
    from tap_linq.tap import TapLinq


class LinqStream(Stream):
    """A stream of the Linq Partner API."""

    # Records go out as the API answered them: nothing to convert, and no field to drop.
    TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.NONE
    primary_keys = ("id",)

    def __init__(self, tap: TapLinq) -> None:
        super().__init__(tap)
        self._linq_tap = tap

    @property
    def run(self) -> Run:
        """What this run of the tap shares among its streams."""
        return self._linq_tap.run

    @property
    @override
    def emit_activate_version_messages(self) -> bool:
        """Never: a target would delete what has expired at the source."""
        return False

    @override
    def log_sync_costs(self) -> None:
        """End the run with an error if anything could not be read.

        The SDK calls this once for each stream, after all streams are done and all state is written.
        """
        super().log_sync_costs()
        self.run.check_complete()
