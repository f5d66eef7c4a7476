"""Child processes of the stack.

Invariants: a child dies with this process (Linux); its output goes to its log file only; a child that ends before it is
ready, or is not ready in time, is a StackError that names the part, the reason and the log.
"""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_TAIL_LINES = 15
_POLL_SECONDS = 0.02
_STOP_SECONDS = 15


class StackError(Exception):
    """A part of the stack failed; the text is for people."""


class Part:
    """One running part."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log_file: Path) -> None:
        self.name = name
        self.log_file = log_file
        self._process = process

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._process.returncode

    async def ready[T](self, probe: Callable[[], Awaitable[T | None]], *, within: float) -> T:
        """Return what `probe` answers once it is not None; `within` in seconds."""
        deadline = asyncio.get_running_loop().time() + within
        while True:
            answer = await probe()
            if answer is not None:
                return answer
            if self.exit_code is not None:
                raise self.failure(f"ended with exit code {self.exit_code} before it was ready")
            if asyncio.get_running_loop().time() > deadline:
                raise self.failure(f"was not ready within {within:g} s")
            await asyncio.sleep(_POLL_SECONDS)

    def failure(self, reason: str) -> StackError:
        """Return the error that tells what happened to this part."""
        lines = self.log_file.read_text("utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
        tail = "\n".join(f"    {line}" for line in lines) or "    (empty)"
        return StackError(f"{self.name} {reason}. The end of its log, {self.log_file}:\n{tail}")

    async def wait(self) -> int:
        """Wait for its end and return the exit code."""
        return await self._process.wait()

    async def kill(self) -> None:
        """End it without warning, as a crash does."""
        if self.exit_code is None:
            self._process.kill()
        await self._process.wait()

    async def stop(self) -> None:
        """Ask it to end, and end it if it does not."""
        if self.exit_code is None:
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), _STOP_SECONDS)
        except TimeoutError:
            await self.kill()


class Launcher:
    """Starts parts with the same base environment, and stops all that it started, the last first."""

    def __init__(self, root: Path, logs_dir: Path, environment: Mapping[str, str]) -> None:
        self.root = root
        self.parts: list[Part] = []
        self._logs_dir = logs_dir
        self._environment = dict(environment)

    async def start(self, name: str, command: Sequence[str | Path], settings: Mapping[str, str] | None = None) -> Part:
        """Start a command; its log starts empty."""
        log_file = self._logs_dir / f"{name}.log"
        log_file.parent.mkdir(parents=True, exist_ok=True)
        with log_file.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *command,
                env=self._environment | dict(settings or {}),
                cwd=self.root,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A session of its own: Ctrl-C reaches the supervisor only, which stops the parts in order.
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        part = Part(name, process, log_file)
        self.parts.append(part)
        return part

    async def stop(self) -> None:
        """Stop every part."""
        while self.parts:
            await self.parts.pop().stop()


def _die_with_parent() -> None:
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.umask(0o077)
