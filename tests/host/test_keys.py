"""Function, host and master keys."""

import json
from pathlib import Path

import aiohttp
import pytest

from local.host.keys import HostKeys
from local.stack import Stack


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        ("/api/with-function-key", None, 401),
        ("/api/with-function-key", "wrong", 401),
        ("/api/with-function-key", "master", 200),
        ("/api/with-function-key", "host", 200),
        ("/api/with-function-key", "with_function_key", 200),
        ("/api/with-function-key", "echo", 401),
        ("/api/with-master-key", "master", 200),
        ("/api/with-master-key", "host", 401),
        ("/api/with-master-key", "with_master_key", 401),
        ("/admin/host/status", "master", 200),
        ("/admin/host/status", "host", 401),
        ("/admin/host/status", None, 401),
        ("/admin/host/ping", None, 200),
    ],
)
@pytest.mark.parametrize("in_query", [True, False])
async def test_who_opens_what(
    sample_stack: Stack, client: aiohttp.ClientSession, path: str, key: str | None, status: int, *, in_query: bool
) -> None:
    document = json.loads((sample_stack.data_dir / "host-keys.json").read_text())
    secret = {**document, **document["functions"]}.get(key, key) if key else None
    query = {"code": secret} if secret and in_query else {}
    headers = {"x-functions-key": secret} if secret and not in_query else {}
    async with client.get(path, params=query, headers=headers) as response:
        assert response.status == status
        if status == 401:
            assert await response.read() == b""


def test_keys_file_is_private_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    HostKeys.load_or_create(file, [])
    first = file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    assert HostKeys.load_or_create(file, []).is_master(json.loads(first)["master"])
    assert file.read_text() == first
