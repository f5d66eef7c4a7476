"""The whole stack, with a tiny app: start, health, restart, state, and the command line."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import aiohttp
import psutil
import pytest
from azure.keyvault.keys.aio import KeyClient
from azure.storage.blob.aio import BlobServiceClient

from local.stack import HostOptions, IdentityCredential, Stack, StackError
from local.stack.stack import ROOT

APP = """
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

@app.route(route="hello")
async def hello(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("hello")
"""


@pytest.fixture
def tiny_app(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "function_app.py").write_text(APP)
    return folder


async def _text(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return await response.text()


def _key_client(stack: Stack) -> KeyClient:
    vault_url = stack.app_settings["KEYSTEWARD_SEALING_KEY"].partition("/keys/")[0]
    credential = IdentityCredential(stack.endpoints)
    return KeyClient(vault_url, credential, verify_challenge_resource=False, connection_verify=str(stack.ca_file))


def _blob_service(stack: Stack) -> BlobServiceClient:
    uri = stack.app_settings["AzureWebJobsStorage__blobServiceUri"]
    credential = IdentityCredential(stack.endpoints)
    return BlobServiceClient(uri, credential=credential, connection_verify=str(stack.ca_file))


async def test_state_survives_and_the_sealing_key_is_made_once(tmp_path: Path, tiny_app: Path) -> None:
    versions = []
    for run in range(2):
        async with Stack(tmp_path, ephemeral=False, host_options=HostOptions(app_dir=tiny_app)) as stack:
            assert await _text(f"{stack.host_url}/api/hello") == "hello"
            async with _key_client(stack) as keys:
                key = await keys.get_key("keysteward-sealing")
            versions.append(key.properties.version)
            assert (key.key_type, len(key.key.n) * 8) == ("RSA-HSM", 3072)
            async with _blob_service(stack) as blobs:
                container = blobs.get_container_client("kept")
                if run == 0:
                    await container.create_container()
                    await container.upload_blob("a", b"content")
                else:
                    assert await (await container.download_blob("a")).readall() == b"content"
    assert versions[0] == versions[1]


async def test_ephemeral_stack_starts_anew(tmp_path: Path, tiny_app: Path) -> None:
    pids: list[int] = []
    for _ in range(2):
        async with Stack(tmp_path, host_options=HostOptions(app_dir=tiny_app)) as stack:
            pids += [part.pid for part in stack.launcher.parts]
            async with _blob_service(stack) as blobs:
                assert [container.name async for container in blobs.list_containers()] == []
                await blobs.create_container("gone")
    assert len(pids) == 6
    assert not any(psutil.pid_exists(pid) for pid in pids)


async def test_part_that_does_not_start_stops_the_others(tmp_path: Path, tiny_app: Path) -> None:
    (tiny_app / "function_app.py").write_text("import nothing_like_this")
    stack = Stack(tmp_path, host_options=HostOptions(app_dir=tiny_app))
    with pytest.raises(StackError, match=r"^host ended with exit code 1 .*host\.log"):
        await stack.__aenter__()
    assert stack.launcher.parts == []
    own = psutil.Process().children(recursive=True)
    assert not [child for child in own if str(tmp_path) in " ".join(child.cmdline())]


async def _command(*arguments: str | Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "local.stack",
        *arguments,
        cwd=ROOT,
        env=os.environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_up_prints_addresses_and_stops_on_a_signal(
    tmp_path: Path, tiny_app: Path, number: signal.Signals
) -> None:
    up = await _command("up", "--app-dir", tiny_app, "--data-dir", tmp_path / "state")
    assert up.stdout is not None
    printed = ""
    while "Ctrl-C stops the stack" not in printed:
        line = (await asyncio.wait_for(up.stdout.readline(), 30)).decode()
        assert line, printed
        printed += line
    children = psutil.Process(up.pid).children(recursive=True)
    up.send_signal(number)
    _, errors = await asyncio.wait_for(up.communicate(), 30)
    assert (up.returncode, errors) == (0, b"")
    assert 'curl -H "Authorization: Bearer $TOKEN" http://localhost:' in printed
    assert len(children) >= 3
    assert not any(child.is_running() for child in children)


async def test_up_ends_with_a_message_when_a_part_dies(tmp_path: Path, tiny_app: Path) -> None:
    up = await _command("up", "--app-dir", tiny_app, "--data-dir", tmp_path / "state")
    assert up.stdout is not None
    while "Ctrl-C" not in (await asyncio.wait_for(up.stdout.readline(), 30)).decode():
        pass
    children = psutil.Process(up.pid).children()
    next(child for child in children if "local.emulator" in child.cmdline()).kill()
    _, errors = await asyncio.wait_for(up.communicate(), 30)
    assert up.returncode == 1
    assert b"emulator ended with exit code -9" in errors
    assert not any(child.is_running() for child in children)


async def test_run_gives_a_command_the_addresses_and_its_exit_code(tiny_app: Path) -> None:
    script = (
        "import os, ssl, sys, urllib.request as u\n"
        "print(u.urlopen(os.environ['KEYSTEWARD_URL'] + '/api/hello').read().decode())\n"
        "print(len(os.environ['KEYSTEWARD_TOKEN'].split('.')), u.urlopen(os.environ['EMULATOR_ENTRA_URL'] +\n"
        "  '/common/discovery/instance?api-version=1.1&authorization_endpoint=https://login.microsoftonline.com/common'\n"
        ").status)\n"
        "sys.exit(7)"
    )
    run = await _command("run", "--app-dir", tiny_app, "--", sys.executable, "-c", script)
    output, errors = await asyncio.wait_for(run.communicate(), 60)
    assert (run.returncode, output.decode().split()) == (7, ["hello", "3", "200"]), errors.decode()
