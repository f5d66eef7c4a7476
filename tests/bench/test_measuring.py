"""How calls, memory and imports are measured."""

import asyncio
import os
from pathlib import Path

from bench.imports import library_imports
from bench.memory import peak_of
from bench.timing import medians


async def test_calls_take_turns_and_the_first_rounds_do_not_count() -> None:
    order: list[str] = []

    async def quick() -> None:
        order.append("quick")

    async def slow() -> None:
        order.append("slow")
        # The two rounds that come first are slower still.
        await asyncio.sleep(0.2 if len(order) <= 4 else 0.01)

    found = await medians({"quick": quick, "slow": slow}, 20)
    assert order == ["quick", "slow"] * 22
    assert found["quick"] < 0.01 <= found["slow"] < 0.2


def test_the_peak_of_memory_stays_when_memory_is_given_back() -> None:
    before = peak_of(os.getpid())
    held = bytearray(b"1" * int(before * 2**20))
    during = peak_of(os.getpid())
    del held
    # As much again as ever before, beside what the process holds anyway.
    assert during > before + 10
    assert peak_of(os.getpid()) == during


def test_only_imports_of_libraries_at_the_top_of_modules_are_found(tmp_path: Path) -> None:
    (tmp_path / "core" / "adapters").mkdir(parents=True)
    (tmp_path / "functions").mkdir()
    (tmp_path / "function_app.py").write_text("import os\nimport azure.functions as func\nfrom core import wiring\n")
    (tmp_path / "core" / "adapters" / "keys.py").write_text(
        "from azure.keyvault.keys.aio import KeyClient\nfrom . import rows\n\ndef f():\n    import pydantic\n"
    )
    assert sorted(library_imports(tmp_path)) == [
        "from azure.keyvault.keys.aio import KeyClient",
        "import azure.functions as func",
    ]
