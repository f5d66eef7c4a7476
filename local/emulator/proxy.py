"""An HTTP CONNECT proxy that reaches loopback only, optionally with basic authentication.

It counts every tunnel under the service `proxy` with the operation `CONNECT host:port` and the status that it answered,
so that a test can tell that traffic went through it.
"""

import asyncio
import base64
import contextlib
import hmac
from http import HTTPStatus

from local.emulator.faults import Counters

_LOOPBACK = frozenset({"localhost", "127.0.0.1"})
_CHUNK = 65_536


class ConnectProxy:
    """One proxy; `credentials` is `username:password` when callers must authenticate."""

    def __init__(self, counters: Counters, credentials: str | None = None) -> None:
        self._counters = counters
        self._expected = f"Basic {base64.b64encode(credentials.encode()).decode()}" if credentials else None
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen on a free port and return it."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Close the listener and every tunnel."""
        if self._server is not None:
            self._server.close()
            self._server.close_clients()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, _, rest = head[0].partition(" ")
            target = rest.partition(" ")[0]
            status = self._judge(method, target, head[1:])
            self._counters.add("proxy", None, f"{method} {target}", status)
            if status is HTTPStatus.OK:
                await _tunnel(target, reader, writer)
            else:
                writer.write(_refusal(status))
                await writer.drain()
        writer.close()

    def _judge(self, method: str, target: str, headers: list[str]) -> HTTPStatus:
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in headers)}
        presented = fields.get("proxy-authorization", "")
        if self._expected is not None and not hmac.compare_digest(presented.encode(), self._expected.encode()):
            return HTTPStatus.PROXY_AUTHENTICATION_REQUIRED
        host, _, port = target.rpartition(":")
        if method != "CONNECT" or not port.isdecimal():
            return HTTPStatus.METHOD_NOT_ALLOWED
        return HTTPStatus.OK if host in _LOOPBACK else HTTPStatus.FORBIDDEN


def _refusal(status: HTTPStatus) -> bytes:
    challenge = "Proxy-Authenticate: Basic\r\n" if status is HTTPStatus.PROXY_AUTHENTICATION_REQUIRED else ""
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\n{challenge}Content-Length: 0\r\nConnection: close\r\n\r\n"
    return head.encode()


async def _tunnel(target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", int(target.rpartition(":")[2]))
    except OSError:
        writer.write(_refusal(HTTPStatus.BAD_GATEWAY))
        return
    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    writer.close()
