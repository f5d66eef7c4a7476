"""The page about bringing keys: its examples run line by line in a shell, its tables are those of the code."""

import asyncio
import os
import re
import shutil
from collections.abc import Iterator

import pytest

from core.domain.key_kinds import (
    PERMISSIONS,
    KeyFamily,
    KeyKind,
    KeyPolicy,
    Protection,
    Target,
    check_kind,
    protection_of,
)
from core.errors import PolicyViolationError
from core.services import vault_names
from local.stack import Stack
from tests.docs.pages import DOCS, ROOT, code_blocks, rows, section, words

PAGE = DOCS / "byok.md"
#: The columns of the table of keys by target.
COLUMNS = (Target.SOURCE, Target.STANDARD, Target.PREMIUM_SOFTWARE, Target.PREMIUM_HSM, Target.MANAGED_HSM)
NOTHING_ADDED, ALL_ADDED = KeyPolicy(), KeyPolicy(("P-256K",))
CELLS = rows(section(PAGE, "## What can be where"))


def kinds_in(cell: str) -> Iterator[KeyKind]:
    family, _, rest = cell.partition(" ")
    for one in rest.split(", "):
        yield KeyKind(KeyFamily(family), curve=one) if family == "EC" else KeyKind(KeyFamily(family), int(one))


def allowed(target: Target, kind: KeyKind, policy: KeyPolicy) -> bool:
    try:
        check_kind(target, kind, policy)
    except PolicyViolationError:
        return False
    return True


def ways(target: Target) -> str:
    blobs = target is not Target.SOURCE and protection_of(target) is Protection.HSM
    return "G I W C B" if blobs else "G I W C"


def every_kind() -> Iterator[KeyKind]:
    yield from (KeyKind(KeyFamily.EC, curve=curve) for curve in ("P-256", "P-384", "P-521", "P-256K", "P-192"))
    for family in (KeyFamily.RSA, KeyFamily.AES):
        yield from (KeyKind(family, size) for size in (128, 192, 256, 512, 1024, 2048, 3072, 4096, 8192))


@pytest.mark.skipif(not all(map(shutil.which, ("curl", "openssl"))), reason="the page is made of their calls")
async def test_the_examples_do_what_the_page_says(stack: Stack) -> None:
    # Set by the reader, as for the tour of the README.
    environment = os.environ | {
        "TOKEN": await stack.user_token("alice"),
        "API": f"{stack.host_url}/api/v1",
        "STATE": str(stack.data_dir),
    }
    script = "\n".join(code_blocks(PAGE.read_text("utf-8"), "sh"))
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", script),
        cwd=ROOT,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(90):
        output, errors = (text.decode() for text in await process.communicate())
    assert (process.returncode, errors) == (0, "")
    receipts, tickets, acquirer, master = 0, 2, 4, 6
    digests = re.findall(r"^([0-9a-f]{64})  -$", output, re.MULTILINE)
    assert len(digests) == 10
    for of_the_vault in (receipts, tickets, acquirer):
        assert digests[of_the_vault] == digests[of_the_vault + 1]
    assert len(set(digests[master:])) == 1
    assert len(set(digests)) == 4
    assert "Verified OK" in output
    assert output.count("'status': 'done'") == 2
    assert "/keys/by-courier/" in output
    assert re.findall(r'"usable":(\w+)', output) == ["false", "true"]
    assert re.findall(r'"problems":\[\{"code":"(\w+)"', output) == ["transfer_blob_key_type"]
    assert "\nsixteen octets!!\nnative\n" in output
    assert re.search(r"^(key_[a-z2-7]{24})\n\1$", output, re.MULTILINE)
    assert '"code":"key_name_taken"' in output


@pytest.mark.parametrize("cells", CELLS, ids=lambda cells: cells[0])
def test_what_can_be_where(cells: list[str]) -> None:
    for target, cell in zip(COLUMNS, cells[1:], strict=True):
        for kind in kinds_in(cells[0]):
            if allowed(target, kind, NOTHING_ADDED):
                assert cell == ways(target), target
            elif allowed(target, kind, ALL_ADDED):
                assert cell == f"by policy: {ways(target)}", target
            else:
                assert cell == "-", target


def test_every_kind_of_key_is_in_the_table() -> None:
    shown = {kind for cells in CELLS for kind in kinds_in(cells[0])}
    assert shown == {kind for kind in every_kind() if any(allowed(target, kind, ALL_ADDED) for target in Target)}


def test_permissions_of_source_keys() -> None:
    families = (KeyFamily.RSA, KeyFamily.EC, KeyFamily.AES)
    shown: dict[KeyFamily, set[str]] = {family: set() for family in families}
    for cells in rows(section(PAGE, "## Source keys")):
        for family, cell in zip(families, cells[1:4], strict=True):
            assert cell in {"yes", "-"}
            shown[family].update(words(cells[0]) if cell == "yes" else ())
    assert shown == {family: set(PERMISSIONS[family]) for family in families}


def test_ways_out_of_a_name_that_is_not_free() -> None:
    codes = {words(cells[0])[0]: set(words(cells[2])) for cells in rows(section(PAGE, "## Names")) if len(cells) == 3}
    offered = set().union(*codes.values())
    assert set(vault_names._WAYS) <= offered
    assert {"key_name_taken", "key_name_soft_deleted", "key_name_purged"} <= set(codes)
