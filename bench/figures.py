"""Figures and their tables: what was measured, its target, and whether it is met."""

import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

_HEADINGS = ("What", "Target", "Measured", "Met", "How it came about")


class Bound(StrEnum):
    """On which side of its target a figure should be."""

    AT_MOST = "≤"
    AT_LEAST = "≥"


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure; `unit` follows the numbers (such as 'x'), `note` says from which measurements it comes."""

    what: str
    bound: Bound
    target: float
    measured: float
    unit: str
    note: str

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        if self.bound is Bound.AT_MOST:
            return self.measured <= self.target
        return self.measured >= self.target

    def cells(self) -> tuple[str, ...]:
        """Return the row of a table."""
        target = f"{self.bound.value} {self.target:g}{self._spaced}"
        return self.what, target, f"{self.measured:.4g}{self._spaced}", "yes" if self.met else "NO", self.note

    @property
    def _spaced(self) -> str:
        return f" {self.unit}" if self.unit else ""


def text_table(figures: Iterable[Figure]) -> str:
    """Return the table for a terminal: the notes on lines of their own, because they are long."""
    rows = [_HEADINGS[:-1], *(figure.cells()[:-1] for figure in figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    notes = [f"    {figure.note}" for figure in figures]
    body = [line for pair in zip(lines[1:], notes, strict=True) for line in pair]
    return "\n".join([lines[0], "-" * len(lines[0]), *body])


def markdown_table(figures: Iterable[Figure]) -> str:
    """Return the table for a document."""
    rows = [_HEADINGS, ("---",) * len(_HEADINGS), *(figure.cells() for figure in figures)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def machine() -> str:
    """Return on what the figures were measured: cores, memory and interpreter, nothing that names the machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB of memory, Python {platform.python_version()}"


def as_json(figures: Sequence[Figure], seconds: float) -> str:
    """Return the figures for programs; `seconds` is how long the run took."""
    shown = [{**asdict(figure), "met": figure.met} for figure in figures]
    return json.dumps({"machine": machine(), "seconds": round(seconds), "figures": shown}, indent=2, ensure_ascii=False)
