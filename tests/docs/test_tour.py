"""The tour of the README, run line by line in a shell as a newcomer copies it, against the shared stack."""

import asyncio
import os
import re
import shutil

import pytest

from local.stack import Stack
from tests.docs.pages import README, ROOT, code_blocks


def tour() -> str:
    found = re.search(r"<!-- tour -->(.*)<!-- /tour -->", README.read_text("utf-8"), re.DOTALL)
    assert found
    return "\n".join(code_blocks(found[1], "sh"))


@pytest.mark.skipif(not all(map(shutil.which, ("curl", "openssl"))), reason="the tour is made of their calls")
async def test_the_tour_shows_what_the_readme_says(stack: Stack) -> None:
    # The README's first block sets these three: they are the reader's own.
    environment = os.environ | {
        "TOKEN": await stack.user_token("alice"),
        "API": f"{stack.host_url}/api/v1",
        "STATE": str(stack.data_dir),
    }
    # Other tests of the shared stack have a vault of this name, too.
    script = tour().replace("payments", "tour-payments")
    command = ["bash", "-euo", "pipefail", "-c", script]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(90):
        output, errors = (text.decode() for text in await process.communicate())
    assert (process.returncode, errors) == (0, "")
    assert output.index('"display_name":"Alice"') < output.index('"cause":"secret_wrong"')
    assert output.index('"cause":"secret_wrong"') < output.index('"result":"connected"')
    assert "'counts': {'discovered': 31, 'added': 31, 'escrowed': 31}" in output
    assert "'counts': {'discovered': 31, 'unchanged': 29, 'soft_deleted': 1, 'updated': 1}" in output
    assert re.search(r'"kind":"enabled",.*"before":"true","after":"false"', output)
    assert re.search(r'card-token-000007".*"state":"soft-deleted"', output)
    assert re.search(r'"name":"refunds",.*"origin":"native",.*"type":"EC-HSM",.*"curve":"P-384"', output)
    assert re.search(r"'name': 'master_copy1', 'status': 'done'", output)
    assert output.splitlines().count("the same") == 2
