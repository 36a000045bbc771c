"""What a comparison found, and how it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    """One target.

    Attributes:
        target: what is asked for, in words and a number.
        measured: the figure, as text.
        met: None where nothing is asked for: the row is there to compare with.
    """

    target: str
    measured: str
    met: bool | None


def at_most(what: str, limit: float, measured: float, unit: str = "") -> Row:
    """A row whose figure must not be above a limit."""
    return Row(f"{what}: at most {_number(limit)}{unit}", f"{_number(measured)}{unit}", measured <= limit)


def at_least(what: str, limit: float, measured: float, unit: str = "") -> Row:
    """A row whose figure must not be below a limit."""
    return Row(f"{what}: at least {_number(limit)}{unit}", f"{_number(measured)}{unit}", measured >= limit)


def beside(what: str, measured: float, unit: str = "") -> Row:
    """A row without a target."""
    return Row(what, f"{_number(measured)}{unit}", None)


@dataclass
class Found:
    """The rows of a comparison, and the raw figures that they come from."""

    rows: list[Row] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)


def table(rows: Sequence[Row]) -> str:
    """The rows, aligned, as Markdown."""
    verdicts = {True: "met", False: "MISSED", None: "-"}
    cells = [("target", "measured", "verdict"), *((one.target, one.measured, verdicts[one.met]) for one in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(3)]
    lines = [_aligned(row, widths) for row in cells]
    return "\n".join([lines[0], _aligned(["-" * width for width in widths], widths), *lines[1:]])


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"


def _number(value: float) -> str:
    if value >= 1000 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 100 else f"{value:.3g}"
