"""Extra listeners in the control API: the same services behind bad TLS or a client certificate, and a proxy."""

from collections.abc import Awaitable, Callable
from typing import Any, Literal

from aiohttp import web

from local.emulator.control.wire import Body, ControlError, done, known_vault, read
from local.emulator.proxy import ConnectProxy
from local.emulator.server import Emulator, server_context, vault_target
from local.tls import Leaf, ensure_authority

TlsKind = Literal["untrusted_ca", "wrong_host", "expired", "client_certificate"]
OTHER_HOST = "other.example"
"""The only name in the certificate of a `wrong_host` listener."""


class ListenerBody(Body):
    """A listener to add: `target` is `entra`, `arm` or a vault's name and is not needed by a proxy."""

    kind: TlsKind | Literal["proxy"]
    target: str | None = None
    username: str | None = None
    password: str | None = None


class ExtraListeners:
    """The extra listeners of one emulator; they end with it or with a reset."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._closers: dict[str, Callable[[], Awaitable[None]]] = {}

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the extra listeners."""
        return [web.post("/control/listeners", self.add), web.delete("/control/listeners/{id}", self.delete)]

    async def stop(self) -> None:
        """Close all of them."""
        while self._closers:
            _, close = self._closers.popitem()
            await close()

    async def add(self, request: web.Request) -> web.Response:
        """Open a listener and answer its URL, with a client certificate where one is demanded."""
        body = await read(request, ListenerBody)
        answer = await (self._add_proxy(body) if body.kind == "proxy" else self._add_tls(body, body.kind))
        return web.json_response(answer, status=201)

    async def delete(self, request: web.Request) -> web.Response:
        """Close one listener."""
        close = self._closers.pop(request.match_info["id"], None)
        if close is None:
            raise ControlError(404, "NotFound", f"There is no listener '{request.match_info['id']}'.")
        await close()
        return done()

    async def _add_proxy(self, body: ListenerBody) -> dict[str, Any]:
        credentials = f"{body.username}:{body.password or ''}" if body.username else None
        proxy = ConnectProxy(self._emulator.world.counters, credentials)
        port = await proxy.start()
        self._closers[str(port)] = proxy.stop
        return {"id": str(port), "url": f"http://localhost:{port}"}

    async def _add_tls(self, body: ListenerBody, kind: TlsKind) -> dict[str, Any]:
        target = body.target or ""
        if target not in ("entra", "arm"):
            target = vault_target(known_vault(self._emulator.world, target).name)
        authority = self._emulator.authority
        client_ca = authority.ca_file if kind == "client_certificate" else None
        site = await self._emulator.add_site(target, server_context(self._leaf(kind), client_ca=client_ca))
        self._closers[str(site.port)] = site.stop
        answer = {"id": str(site.port), "url": f"https://localhost:{site.port}"}
        if client_ca is not None:
            client = authority.issue_client("client")
            answer["client_certificate_pem"] = client.cert_file.read_text()
            answer["client_key_pem"] = client.key_file.read_text()
        return answer

    def _leaf(self, kind: TlsKind) -> Leaf:
        authority = self._emulator.authority
        match kind:
            case "untrusted_ca":
                stranger = ensure_authority(self._emulator.folder / "tls" / "untrusted", "A CA that nobody trusts")
                return stranger.issue("untrusted")
            case "wrong_host":
                return authority.issue("wrong-host", hosts=(OTHER_HOST,))
            case "expired":
                return authority.issue("expired", expired=True)
            case "client_certificate":
                return authority.issue("emulator")
