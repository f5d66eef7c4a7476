"""Command line of the local Functions host."""

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

from local.host.app import Host, Options
from local.host.crash import watch_outgoing_calls
from local.host.easy_auth import AuthOptions
from local.host.settings import load_app_settings
from local.host.worker import AppLoadError

# As the platform: it tells the app that it is in charge of the principal headers.
_AUTH_ENABLED = "WEBSITE_AUTH_ENABLED"


def main() -> int:
    """Run the host until SIGTERM or SIGINT; 1 when the app cannot be loaded."""
    arguments = _parser().parse_args()
    _log_to_stderr()
    load_app_settings(arguments.settings)
    auth = _auth(arguments)
    if auth is None:
        os.environ.pop(_AUTH_ENABLED, None)
    else:
        os.environ[_AUTH_ENABLED] = "True"
    options = Options(
        app_dir=arguments.app_dir.resolve(),
        port=arguments.port,
        keys_file=arguments.keys or Path(tempfile.mkdtemp()) / "keys.json",
        auth=auth,
        cut_after=arguments.cut_after,
        message_lock=arguments.message_lock,
    )
    try:
        asyncio.run(_serve(options, arguments.ready_file))
    except AppLoadError as error:
        logging.getLogger(__name__).error("the app cannot be loaded: %s", error)  # noqa: TRY400 - holds its trace
        return 1
    return 0


async def _serve(options: Options, ready_file: Path | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Host(options, watch_outgoing_calls()).serving() as port:
        url = f"http://localhost:{port}"
        logging.getLogger(__name__).info("serving %s on %s", options.app_dir, url)
        if ready_file is not None:
            _write_ready_file(ready_file, {"pid": os.getpid(), "url": url, "keys_file": str(options.keys_file)})
        await stop.wait()


def _write_ready_file(path: Path, content: dict[str, object]) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(content), "utf-8")
    fresh.replace(path)


def _auth(arguments: argparse.Namespace) -> AuthOptions | None:
    if arguments.no_auth_platform:
        return None
    return AuthOptions(issuer=arguments.auth_issuer, audiences=frozenset(arguments.auth_audience))


def _log_to_stderr() -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # One line a call is the worker's, and one a request the SDK's: too much for a log that people read.
    logging.getLogger("azure").setLevel(logging.WARNING)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local.host", description="Serve a function app locally.")
    parser.add_argument("--app-dir", type=Path, default=Path(), help="directory of function_app.py and host.json")
    parser.add_argument("--port", type=int, default=7071, help="0 for any free port (default 7071)")
    parser.add_argument(
        "--ready-file", type=Path, help="written as JSON {pid, url, keys_file} once requests are served"
    )
    parser.add_argument("--settings", type=Path, help="app settings, in the shape of local.settings.json")
    parser.add_argument("--keys", type=Path, help="file of the master, host and function keys; made when absent")
    parser.add_argument("--cut-after", type=float, default=230, help="seconds until the load balancer gives up")
    parser.add_argument("--message-lock", type=int, default=600, help="seconds for which a taken message is hidden")
    parser.add_argument("--auth-audience", action="append", default=[], help="audience of this app's tokens")
    auth = parser.add_mutually_exclusive_group(required=True)
    auth.add_argument("--auth-issuer", help="issuer of the tokens that the platform accepts")
    auth.add_argument("--no-auth-platform", action="store_true", help="run without App Service Authentication")
    return parser


def _end(code: int) -> NoReturn:
    """End as the platform ends a worker: at once, without giving the app's objects a say."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _end(main())
