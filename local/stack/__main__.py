"""Command line of the local stack.

python -m local.stack up                     stays until Ctrl-C; keeps its state in .local/state
python -m local.stack run -- COMMAND ...     runs a command beside a fresh stack
"""

import argparse
import asyncio
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path

from local.stack.host import HostOptions
from local.stack.part import StackError
from local.stack.stack import ROOT, Stack

# The port of `func start`; another one is taken when it is in use.
_USUAL_PORT = 7071


def main() -> int:
    """Return 0 after a clean stop, 1 when a part failed, and from `run` the command's own exit code."""
    arguments = _parser().parse_args()
    app_dir: Path = arguments.app_dir.resolve()
    try:
        if arguments.command == "up":
            return asyncio.run(_up(app_dir, arguments.data_dir))
        return asyncio.run(_run(app_dir, arguments.argv))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 0
    except StackError as error:
        print(error, file=sys.stderr)
        return 1


async def _up(app_dir: Path, data_dir: Path) -> int:
    _cancel_on_sigterm()
    options = HostOptions(app_dir=app_dir, port=_free_port(_USUAL_PORT))
    print("Starting Azurite, the emulator and the Functions host ...", flush=True)
    async with Stack(data_dir, ephemeral=False, host_options=options) as stack:
        await _print_addresses(stack)
        ends = {asyncio.ensure_future(part.wait()): part for part in stack.launcher.parts}
        done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        part = ends[done.pop()]
        raise part.failure(f"ended with exit code {part.exit_code}")


async def _run(app_dir: Path, argv: list[str]) -> int:
    _cancel_on_sigterm()
    with tempfile.TemporaryDirectory(prefix="keysteward-") as data_dir:
        async with Stack(Path(data_dir), host_options=HostOptions(app_dir=app_dir)) as stack:
            environment = {
                "KEYSTEWARD_URL": stack.host_url,
                "KEYSTEWARD_TOKEN": await stack.user_token("alice"),
                "EMULATOR_CONTROL_URL": stack.control_url,
                "EMULATOR_ENTRA_URL": stack.entra_url,
                "EMULATOR_ARM_URL": stack.arm_url,
                "SSL_CERT_FILE": str(stack.ca_file),
            }
            process = await asyncio.create_subprocess_exec(*argv, env=os.environ | environment)
            try:
                return await process.wait()
            finally:
                if process.returncode is None:
                    process.terminate()
                    await process.wait()


async def _print_addresses(stack: Stack) -> None:
    token = await stack.user_token("alice")
    status = await stack.host.status()
    print(
        f"""
  Keysteward API    {stack.host_url}/api/v1     ({len(status["functions"])} functions)
  emulator control  {stack.control_url}/control/world
  Entra             {stack.entra_url}
  Resource Manager  {stack.arm_url}
  CA certificate    {stack.ca_file}
  logs              {stack.logs_dir}

  TOKEN={token}
  curl -H "Authorization: Bearer $TOKEN" {stack.host_url}/api/v1/me
  curl -H "Authorization: Bearer $TOKEN" {stack.host_url}/api/v1/accounts
  curl {stack.control_url}/control/world

The token is alice's, the first admin. Ctrl-C stops the stack; its state is kept.""",
        flush=True,
    )
    for name, reason in status["errors"].items():
        print(f"The function {name} is in error: {reason}", file=sys.stderr)


def _cancel_on_sigterm() -> None:
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


def _free_port(wanted: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return 0
    return wanted


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local.stack", description="Run Keysteward's local stack.")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start the stack and stay until Ctrl-C")
    up.add_argument("--data-dir", type=Path, default=ROOT / ".local" / "state", help="where its state is kept")
    run = commands.add_parser("run", help="run a command beside a fresh stack; its addresses are in the environment")
    run.add_argument("argv", nargs="+", metavar="COMMAND")
    for command in (up, run):
        command.add_argument("--app-dir", type=Path, default=ROOT, help="the function app to serve")
    return parser


if __name__ == "__main__":
    sys.exit(main())
