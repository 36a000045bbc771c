"""Searches a regular expression in text that strangers wrote, within bounds.

A pattern that goes back and forth takes minutes for some thirty characters that somebody chose for it, and Python's
`re` holds the interpreter for as long: every trigger of the triggerer would stand still. So the search is done by
`regex`, which lets other threads run meanwhile and can be given a time limit, and reads the patterns of `re`. An engine
of linear time (RE2) was the other choice: there `\\w` and `\\b` know ASCII only and look-arounds are missing, so that
patterns would change their meaning.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from linq_client import InvalidRequestError

if TYPE_CHECKING:
    import regex

log = logging.getLogger(__name__)

#: Characters of a text that are searched, from its start: as many as the API takes in one text part.
SEARCHED_CHARACTERS: Final = 10_000

#: Characters of a pattern. One may come from another task, and of some the engine compiles or searches thousands of
#: characters without a look at its time limit, while all triggers stand still.
LONGEST_PATTERN: Final = 2_000

#: Seconds that one search may take. A pattern that is none of those takes a thousandth.
SEARCH_TIMEOUT: Final = 0.25

_REMEMBERED: Final = 1_000


class TextSearch:
    """
    A regular expression that is searched in texts.

    :param pattern: in the syntax of Python's ``re``.
    :raises InvalidRequestError: it is none, or `regex` is not installed.
    """

    def __init__(self, pattern: str) -> None:
        self._pattern = _compiled(pattern)
        #: Texts that took too long, by hash: a message stays in its chat, and each poll would pay for it again.
        self._given_up: dict[int, None] = {}

    def finds(self, text: str, message_id: str) -> bool:
        """
        Whether the pattern is found in a text; not if that takes too long, which is logged.

        :param message_id: whose text it is, for the log.
        """
        searched = text[:SEARCHED_CHARACTERS]
        if hash(searched) in self._given_up:
            return False
        try:
            return self._pattern.search(searched, timeout=SEARCH_TIMEOUT) is not None
        except TimeoutError:
            self._given_up[hash(searched)] = None
            if len(self._given_up) > _REMEMBERED:
                del self._given_up[next(iter(self._given_up))]
            log.warning(
                "text_matches took more than %g s on message %s, which so counts as one without a match: use a pattern "
                "without nested repeats",
                SEARCH_TIMEOUT,
                message_id,
            )
            return False


def _compiled(pattern: str) -> regex.Pattern[str]:
    try:
        import regex
    except ImportError:
        raise InvalidRequestError(
            "text_matches: needs the package regex, got an environment without it; "
            "pip install 'linq-connectors[airflow]' brings it"
        ) from None
    if not isinstance(pattern, str):
        raise InvalidRequestError(f"text_matches: must be a regular expression, got {type(pattern).__name__}")
    if len(pattern) > LONGEST_PATTERN:
        raise InvalidRequestError(
            f"text_matches: must be a regular expression of {LONGEST_PATTERN:,} characters at most, got "
            f"{len(pattern):,}"
        )
    try:
        return regex.compile(pattern)
    except (regex.error, RecursionError, OverflowError) as error:
        raise InvalidRequestError(f"text_matches: must be a regular expression, got one with {error}") from None
