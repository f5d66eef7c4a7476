"""Command line of the benchmarks. The exit code is 0 also where a target is missed: a figure is a figure."""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic

from bench.document import with_table
from bench.figures import Figure, as_json, machine, markdown_table, text_table
from bench.imports import import_time
from bench.key_pages import key_pages
from bench.key_read import key_read
from bench.memory import peak_memory
from bench.rotations import rotations
from bench.stage import Stage, staged
from bench.syncs import syncs
from local.stack.part import StackError
from local.stack.stack import ROOT

#: In the order in which they run; the one on memory comes last, because it starts hosts of its own.
_ON_STAGE: Mapping[str, Callable[[Stage], Awaitable[list[Figure]]]] = {
    "sync": syncs,
    "read": key_read,
    "page": key_pages,
    "rotation": rotations,
    "memory": peak_memory,
}
_IMPORT = "import"
_NAMES = (_IMPORT, *_ON_STAGE)
_RESULTS = ROOT / "bench" / "results"
_DOCUMENT = ROOT / "docs" / "benchmarks.md"


def main() -> int:
    """Measure, print the table, and write it to bench/results (and, if asked to, into the document)."""
    arguments = _parser().parse_args()
    started = monotonic()
    try:
        figures = asyncio.run(_measure(arguments.only))
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    seconds = monotonic() - started
    print(f"\n{text_table(figures)}\n\nMeasured in {seconds:.0f} s on {machine()}.")
    _RESULTS.mkdir(exist_ok=True)
    (_RESULTS / "latest.json").write_text(as_json(figures, seconds) + "\n", "utf-8")
    (_RESULTS / "latest.md").write_text(markdown_table(figures) + "\n", "utf-8")
    if arguments.record:
        _record(_DOCUMENT, figures)
    return 0


async def _measure(names: Sequence[str]) -> list[Figure]:
    return [figure async for figure in _figures(names)]


async def _figures(names: Sequence[str]) -> AsyncIterator[Figure]:
    if _IMPORT in names:
        _announce(_IMPORT)
        for figure in await import_time():
            yield figure
    chosen = [name for name in _ON_STAGE if name in names]
    if not chosen:
        return
    async with staged() as stage:
        for name in chosen:
            _announce(name)
            for figure in await _ON_STAGE[name](stage):
                yield figure


def _announce(name: str) -> None:
    print(f"measuring: {name} ...", file=sys.stderr, flush=True)


def _record(document: Path, figures: Sequence[Figure]) -> None:
    text = f"Measured on {machine()}.\n\n{markdown_table(figures)}"
    document.write_text(with_table(document.read_text("utf-8"), text), "utf-8")


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in _NAMES]:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(_NAMES)}")
    return names


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Keysteward against its targets.")
    parser.add_argument("--only", type=_names, default=_NAMES, metavar="NAMES", help=f"some of {','.join(_NAMES)}")
    parser.add_argument("--record", action="store_true", help="put the table into docs/benchmarks.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
