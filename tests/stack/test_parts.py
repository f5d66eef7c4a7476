"""Child processes: failures that say which part and why, environments, ends."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from local.stack.azurite import start_azurite
from local.stack.environment import base_environment
from local.stack.part import Launcher, StackError
from local.stack.stack import ROOT
from local.tls import ensure_authority


@pytest_asyncio.fixture
async def launcher(tmp_path: Path) -> AsyncIterator[Launcher]:
    started = Launcher(tmp_path, tmp_path / "logs", {"PATH": os.environ["PATH"]})
    yield started
    await started.stop()


async def never() -> None:
    return None


async def test_part_that_ends_early_is_told_with_its_log(launcher: Launcher) -> None:
    part = await launcher.start("thing", [sys.executable, "-c", "print('the reason'); raise SystemExit(3)"])
    with pytest.raises(StackError) as failure:
        await part.ready(never, within=10)
    assert str(failure.value).startswith("thing ended with exit code 3 before it was ready. The end of its log, ")
    assert str(part.log_file) in str(failure.value)
    assert "    the reason" in str(failure.value)


async def test_part_that_is_never_ready(launcher: Launcher) -> None:
    part = await launcher.start("thing", [sys.executable, "-c", "import time; time.sleep(60)"])
    with pytest.raises(StackError, match=r"thing was not ready within 0\.1 s"):
        await part.ready(never, within=0.1)


async def test_stop_ends_every_part(launcher: Launcher) -> None:
    parts = [await launcher.start(name, [sys.executable, "-c", "import time; time.sleep(60)"]) for name in "ab"]
    await launcher.stop()
    assert [part.exit_code for part in parts] == [-signal.SIGTERM, -signal.SIGTERM]


async def test_parts_die_with_their_supervisor(tmp_path: Path) -> None:
    script = (
        "import asyncio, os, sys; from pathlib import Path; from local.stack.part import Launcher\n"
        "async def main():\n"
        "    part = await Launcher(Path('.'), Path(sys.argv[1]), os.environ).start('child', ['sleep', '60'])\n"
        "    print(part.pid, flush=True); await part.wait()\n"
        "asyncio.run(main())"
    )
    supervisor = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(tmp_path), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert supervisor.stdout is not None
    child = psutil.Process(int(await supervisor.stdout.readline()))
    supervisor.kill()
    await supervisor.wait()
    await asyncio.to_thread(psutil.wait_procs, [child], timeout=5)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


async def test_missing_azurite_names_the_remedy(launcher: Launcher, tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"azurite is not installed.*make setup"):
        await start_azurite(launcher, ensure_authority(tmp_path / "tls"), None)


def test_parts_do_not_inherit_proxies_or_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HTTPS_PROXY", "AZURE_CLIENT_SECRET", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, "of the developer")
    environment = base_environment(tmp_path / "ca.pem", tmp_path)
    assert "of the developer" not in environment.values()
    assert environment["SSL_CERT_FILE"] == str(tmp_path / "ca.pem")
