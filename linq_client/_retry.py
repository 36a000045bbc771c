"""The tries of one call: when to try again, how long to wait, and what all of them together have done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from linq_client.errors import Effect, LinqError, RequestKind


class CallEffect:
    """What the tries of one call have done so far, to be told with the error that the call ends with."""

    def __init__(self, kind: RequestKind) -> None:
        self._kind = kind
        #: An earlier try may have been done, or may still be under way.
        self.unknown = False

    @contextmanager
    def one_try(self) -> Iterator[None]:
        """Give an error of a try the effect of the whole call: a refusal says nothing of the tries before it."""
        try:
            yield
        except LinqError as error:
            if self._kind is RequestKind.READ:
                error.effect = Effect.NONE
            elif self.unknown and error.effect is Effect.NONE:
                error.effect = Effect.UNKNOWN
            self.unknown = self.unknown or error.effect is Effect.UNKNOWN
            raise
