"""Progress of several pieces of work: bars where bars can move, else a line a second for each."""

from collections.abc import Iterable
from time import monotonic
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from local.demo.show import Show

_SECONDS_BETWEEN_LINES = 1.0


class ProgressBars:
    """Progress by title; use it as a context."""

    def __init__(self, show: Show, titles: Iterable[str]) -> None:
        self._show = show
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, tuple[float, str]] = {}
        if show.animated:
            self._bars = _bars(show)
            self._tasks = {title: self._bars.add_task(title, total=None, rate="") for title in titles}

    def update(self, title: str, done: int, total: int | None, rate: float, *, ended: bool) -> None:
        """Show how far one piece is: `rate` in keys a second, `total` None until it is known."""
        if self._bars is not None:
            total = done if ended else total
            self._bars.update(self._tasks[title], completed=done, total=total, rate=f"{rate:.0f} keys/s")
            return
        line = f"{title:<14} {done:4} of {'?' if total is None else total} keys, {rate:.0f} keys/s"
        line += ", done" if ended else ""
        said_at, said = self._said.get(title, (-_SECONDS_BETWEEN_LINES, ""))
        due = monotonic() - said_at >= _SECONDS_BETWEEN_LINES and bool(done)
        if line != said and (due or ended):
            self._said[title] = (monotonic(), line)
            self._show.say(line)

    def __enter__(self) -> Self:
        """Begin to draw."""
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Leave the bars as they are."""
        if self._bars is not None:
            self._bars.stop()


def _bars(show: Show) -> Progress:
    columns = (
        TextColumn("    {task.description:<14}"),
        BarColumn(bar_width=40),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
    )
    return Progress(*columns, console=show.console)
