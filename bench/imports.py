"""Importing the app, beside importing exactly the libraries that it imports itself."""

import ast
import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.figures import Bound, Figure
from bench.timing import milliseconds
from local.stack.stack import ROOT

_RUNS = 9
_OWN = frozenset({"core", "functions"})
_GUID = "00000000-0000-0000-0000-000000000000"
#: The app reads its settings while it is imported; nothing is sent to these.
_SETTINGS = {
    "KEYSTEWARD_TENANT_ID": _GUID,
    "KEYSTEWARD_FIRST_ADMIN": _GUID,
    "KEYSTEWARD_SEALING_KEY": "https://platform.vault.azure.net/keys/sealing",
    "AzureWebJobsStorage__tableServiceUri": "https://bench.table.core.windows.net",
    "AzureWebJobsStorage__blobServiceUri": "https://bench.blob.core.windows.net",
    "AzureWebJobsStorage__queueServiceUri": "https://bench.queue.core.windows.net",
}


async def import_time() -> list[Figure]:
    """Compare the best of several processes each, in turns."""
    programs = {"app": ["import function_app"], "libraries": sorted(set(library_imports(ROOT)))}
    with tempfile.TemporaryDirectory(prefix="keysteward-bench-") as cache:
        taken: dict[str, list[float]] = {name: [] for name in programs}
        for run in range(_RUNS + 1):
            for name, imports in programs.items():
                seconds = await _seconds_to_import(imports, Path(cache))
                # The first run compiles.
                if run:
                    taken[name].append(seconds)
    app, alone = min(taken["app"]), min(taken["libraries"])
    note = f"{milliseconds(app)} and {milliseconds(alone)}; best of {_RUNS} processes each, in turns"
    return [Figure("Import of the app, to its libraries alone", Bound.AT_MOST, 1.3, app / alone, "x", note)]


def library_imports(root: Path) -> Iterator[str]:
    """Yield the statements with which the app's modules import what is neither theirs nor the standard library's.

    Only statements at the top of a module count: what a function imports is not imported with the app.
    """
    files = [root / "function_app.py", *(file for package in sorted(_OWN) for file in (root / package).rglob("*.py"))]
    for file in files:
        for statement in ast.parse(file.read_text("utf-8")).body:
            if any(map(_is_library, _modules(statement))):
                yield ast.unparse(statement)


def _modules(statement: ast.stmt) -> list[str]:
    match statement:
        case ast.Import():
            return [alias.name for alias in statement.names]
        case ast.ImportFrom(module=str(module), level=0):
            return [module]
    return []


def _is_library(module: str) -> bool:
    top = module.partition(".")[0]
    return top not in _OWN and top not in sys.stdlib_module_names


async def _seconds_to_import(imports: Sequence[str], cache: Path) -> float:
    """Return how long a fresh process takes for the statements `imports`, its own start not counted."""
    program = "\n".join(
        ["from time import perf_counter", "started = perf_counter()", *imports, "print(perf_counter() - started)"]
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        cwd=ROOT,
        env=environment | _SETTINGS | {"PYTHONPYCACHEPREFIX": str(cache)},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError("the modules cannot be imported")
    return float(output)
