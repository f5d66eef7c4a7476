"""How the demo looks: scenes, notes, calls and tables.

Invariant: without a terminal the output is plain lines, no escape sequence in it; on one, `NO_COLOR` is honoured.
"""

import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_INDENT = 4
_ID_SHOWN = 12
# What a pipe or a file gets: rich's own 80 columns are narrow for tables.
_PLAIN_WIDTH = 100


def console_for(stream: TextIO) -> Console:
    """Return a console that takes its texts literally."""
    width = None if stream.isatty() else _PLAIN_WIDTH
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)


def shortened(id_: str) -> str:
    """Return the beginning of an id, enough for people to tell it from others: tables have little room."""
    return f"{id_[:_ID_SHOWN]}…"


class Show:
    """Prints the demo. `animated` tells whether bars may move: only on a terminal that can."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or console_for(sys.stdout)
        self.animated = self.console.file.isatty() and not self.console.is_dumb_terminal
        self._scenes = 0

    def scene(self, title: str) -> None:
        """Begin a scene."""
        self._scenes += 1
        self.console.print()
        self.console.print(Text(f"{self._scenes:2}  {title}", style="bold cyan"))

    def say(self, text: str) -> None:
        """Print a sentence of the narrator."""
        self._print(Text(text))

    def call(self, method: str, path: str, status: int) -> None:
        """Print a request to Keysteward, and how it was answered."""
        # Not wrapped, so that an address can be copied.
        self.console.print(Text(f"{' ' * _INDENT}{method} {path} -> {status}", style="dim"), soft_wrap=True)

    def answer(self, members: Iterable[tuple[str, object]]) -> None:
        """Print members of an answer, one a line."""
        for name, value in members:
            self._print(Text.assemble((f"{name}: ", "green"), str(value)))

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print a table; numbers are aligned to the right."""
        cells = [list(row) for row in rows]
        table = Table(box=SIMPLE_HEAD, header_style="bold", show_edge=False, pad_edge=False)
        for number, column in enumerate(columns):
            numeric = bool(cells) and all(isinstance(row[number], int) for row in cells)
            table.add_column(column, justify="right" if numeric else "left", overflow="fold")
        for row in cells:
            table.add_row(*(Text(str(cell)) for cell in row))
        self._print(table)

    def _print(self, what: Text | Table) -> None:
        self.console.print(Padding.indent(what, _INDENT))
