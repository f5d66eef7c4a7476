"""The host's process and command line, without a stack around it."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from local.stack.part import Launcher, Part, StackError
from local.stack.stack import ROOT

Serve = Callable[..., Awaitable[str]]


@pytest_asyncio.fixture
async def launcher(tmp_path: Path) -> AsyncIterator[Launcher]:
    started = Launcher(ROOT, tmp_path, {"PATH": os.environ["PATH"], "FROM_ENVIRONMENT": "environment"})
    yield started
    await started.stop()


@pytest.fixture
def serve(launcher: Launcher, tmp_path: Path, sample_app: Path) -> Serve:
    """Start a host of the sample app and return its address."""

    async def start(*arguments: str, app_dir: Path = sample_app) -> str:
        ready = tmp_path / "ready.json"
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "local.host",
            "--app-dir",
            app_dir,
            "--port",
            "0",
            "--ready-file",
            ready,
        ]
        part: Part = await launcher.start("host", [*command, *arguments])

        async def probe() -> str | None:
            return str(json.loads(ready.read_text())["url"]) if ready.exists() else None

        return await part.ready(probe, within=20)

    return start


async def get(url: str, path: str, **headers: str) -> Any:
    async with aiohttp.ClientSession() as session, session.get(url + path, headers=headers) as response:
        return await response.json(content_type=None) if response.status == 200 else response.status


async def test_without_the_platform_headers_pass_and_the_app_is_not_told(serve: Serve) -> None:
    url = await serve("--no-auth-platform")
    headers = {"X-MS-CLIENT-PRINCIPAL-ID": "forged", "Authorization": "Bearer a.b.c"}
    seen = (await get(url, "/api/echo/bob", **headers))["headers"]
    assert seen["x-ms-client-principal-id"] == "forged"
    assert await get(url, "/api/setting/WEBSITE_AUTH_ENABLED") is None


async def test_slow_call_is_cut_and_goes_on(serve: Serve) -> None:
    url = await serve("--no-auth-platform", "--cut-after", "0.2")
    assert await get(url, "/api/slow/600") == 504
    assert (await get(url, "/api/seen"))["calls"] == []
    await asyncio.sleep(0.6)
    assert (await get(url, "/api/seen"))["calls"] == [{"function": "slow"}]


async def test_environment_wins_over_the_settings_file(serve: Serve, tmp_path: Path) -> None:
    values = {"FROM_ENVIRONMENT": "file", "FROM_FILE": "file"}
    settings = tmp_path / "local.settings.json"
    settings.write_text(json.dumps({"IsEncrypted": False, "Values": values}))
    url = await serve("--no-auth-platform", "--settings", str(settings))
    assert await get(url, "/api/setting/FROM_ENVIRONMENT") == "environment"
    assert await get(url, "/api/setting/FROM_FILE") == "file"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import nothing_like_this", "No module named 'nothing_like_this'"),
        ("import azure.functions\napp = 1", "Could not find top level function app instances"),
        (None, "no function_app.py"),
    ],
)
async def test_app_that_cannot_be_loaded(serve: Serve, tmp_path: Path, source: str | None, reason: str) -> None:
    app_dir = tmp_path / "app"
    app_dir.mkdir()
    if source is not None:
        (app_dir / "function_app.py").write_text(source)
    with pytest.raises(StackError, match="host ended with exit code 1 before it was ready") as failure:
        await serve("--no-auth-platform", app_dir=app_dir)
    assert reason in str(failure.value)


async def test_authentication_must_be_decided(serve: Serve) -> None:
    with pytest.raises(StackError, match="--auth-issuer --no-auth-platform is required"):
        await serve()


async def test_app_without_storage_serves_its_http_functions(serve: Serve, launcher: Launcher) -> None:
    url = await serve("--no-auth-platform")
    assert await get(url, "/api/noop") == 204
    assert "AzureWebJobsStorage__blobServiceUri is missing" in launcher.parts[0].log_file.read_text()
