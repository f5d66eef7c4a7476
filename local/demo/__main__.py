"""Command line of the demo.

python -m local.demo        starts a stack of its own, plays all scenes, stops everything that it started
"""

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path

import aiohttp
from azure.core.exceptions import AzureError

from local.demo.expect import UnexpectedError
from local.demo.show import Show
from local.demo.stage import Stage
from local.demo.story import tell
from local.emulator.client import ControlRefusedError
from local.stack import Stack, StackError

# A LookupError: an answer lacks what it should hold.
_FAILURES = (UnexpectedError, StackError, ControlRefusedError, AzureError, aiohttp.ClientError, OSError, LookupError)
_INTERRUPTED = 130


def main() -> int:
    """Return 0 when all was as expected, 1 when something was not, 130 when it was interrupted."""
    argparse.ArgumentParser(prog="python -m local.demo", description="Show what Keysteward does.").parse_args()
    return run(play)


def run(demo: Callable[[Path], Coroutine[object, object, None]]) -> int:
    """Run `demo` with a folder for its data, which stays only when it fails; return the exit code."""
    data_dir = Path(tempfile.mkdtemp(prefix="keysteward-demo-"))
    try:
        asyncio.run(demo(data_dir))
    except _FAILURES as error:
        print(f"\nThe demo stopped, because something is not as expected.\n{_told(error)}", file=sys.stderr)
        print(f"The logs of its stack are in {data_dir / 'logs'}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("\nThe demo was interrupted; all that it started is stopped.", file=sys.stderr)
        shutil.rmtree(data_dir)
        return _INTERRUPTED
    shutil.rmtree(data_dir)
    return 0


async def play(data_dir: Path) -> None:
    """Play the demo on a stack of its own."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    show = Show()
    show.console.print("Starting Azurite, the emulator of Azure and the Functions host with Keysteward ...")
    async with Stack(data_dir) as stack, aiohttp.ClientSession() as session:
        await tell(Stage(stack, session, show))


def _told(error: Exception) -> str:
    ours = isinstance(error, UnexpectedError | StackError)
    return str(error) if ours else f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.exit(main())
