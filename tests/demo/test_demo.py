"""The demo as its user runs it: from the first scene to the last, interrupted, and failing."""

import asyncio
import os
import re
import signal
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from local.demo.__main__ import run
from local.demo.expect import UnexpectedError, expect
from local.stack.stack import ROOT

_SCENES = 32


async def _started(temporary: Path) -> asyncio.subprocess.Process:
    environment = {name: value for name, value in os.environ.items() if name not in {"FORCE_COLOR", "NO_COLOR"}}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "local.demo",
        cwd=ROOT,
        env=environment | {"TMPDIR": str(temporary)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


def _left_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_every_scene_is_as_expected_and_nothing_is_left(tmp_path: Path) -> None:
    demo = await _started(tmp_path)
    output, errors = (stream.decode() for stream in await demo.communicate())
    assert (demo.returncode, errors) == (0, "")
    scenes = re.findall(r"^ ?(\d+)  \S", output, re.MULTILINE)
    assert scenes == [str(number) for number in range(1, _SCENES + 1)]
    assert "cause: secret_wrong" in output
    assert "Sync with nothing changed" in output
    assert "finding: material_drift (critical)" in output
    assert "transfer_blob_key_type" in output
    assert "PRIVATE KEY" not in output
    assert "\x1b" not in output
    assert "\r" not in output
    assert not re.search(r"ks_[a-z2-7]{24}", output)
    assert _left_in(tmp_path) == []


@pytest.mark.parametrize("interrupt", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupt_stops_all_that_was_started(tmp_path: Path, interrupt: signal.Signals) -> None:
    demo = await _started(tmp_path)
    assert demo.stdout is not None
    while line := await demo.stdout.readline():
        if line.startswith(b" 1  "):
            break
    parts = psutil.Process(demo.pid).children(recursive=True)
    demo.send_signal(interrupt)
    _, errors = await demo.communicate()
    assert demo.returncode == 130
    assert b"interrupted" in errors
    assert len(parts) >= 3
    assert not [part for part in parts if part.is_running()]
    assert _left_in(tmp_path) == []


def test_what_is_not_as_expected_is_told_and_keeps_the_logs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    async def demo(_data_dir: Path) -> None:
        expect("keys in the vault", 2, 3)

    assert run(demo) == 1
    told = capsys.readouterr().err
    kept = next(tmp_path.iterdir())
    assert "keys in the vault: expected 3, found 2" in told
    assert str(kept / "logs") in told


def test_an_answer_that_lacks_a_member_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    answer: dict[str, str] = {}

    async def demo(_data_dir: Path) -> None:
        expect("state", answer["state"], "active")

    assert run(demo) == 1
    assert "KeyError: 'state'" in capsys.readouterr().err


def test_what_is_as_expected_raises_nothing() -> None:
    expect("keys", {"a", "b"}, {"b", "a"})
    with pytest.raises(UnexpectedError, match="keys: expected 1, found 2"):
        expect("keys", 2, 1)
