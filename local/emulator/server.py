"""The emulator's listeners: which application answers on which port, over which TLS.

Invariants:
- All listeners are bound to 127.0.0.1 and share one world.
- A remembered port is used again; when somebody else has it, a free one takes its place and is remembered.
- A vault is served as long as it is in the world; closing it cuts its connections.
"""

import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from local.emulator import seeds
from local.emulator.arm import arm_app
from local.emulator.entra import entra_app
from local.emulator.identity import identity_app
from local.emulator.keyvault import keyvault_app
from local.emulator.world import Vault, World
from local.tls import Authority, Leaf, ensure_authority

_HOST = "127.0.0.1"
_BACKLOG = 1024
_SHUTDOWN_SECONDS = 1.0


@dataclass(frozen=True)
class Site:
    """One bound port of an application."""

    port: int
    stop: Callable[[], Awaitable[None]]


class Emulator:
    """A world and the listeners that show it. `folder` holds the TLS files and the state."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.folder = folder
        self.authority: Authority = ensure_authority(folder / "tls")
        self._tls = server_context(self.authority.issue("emulator"))
        self._runners: dict[str, web.AppRunner] = {}

    async def start(self, control: web.Application) -> None:
        """Open the services and every vault of the world; `control` is the control API's application."""
        await self._open("control", control, None)
        await self._open("identity", identity_app(self.world), None)
        await self._open("entra", entra_app(self.world), self._tls)
        await self._open("arm", arm_app(self.world), self._tls)
        await self._open_vaults()

    async def stop(self) -> None:
        """Close every listener."""
        while self._runners:
            _, runner = self._runners.popitem()
            await runner.cleanup()

    async def reset(self) -> None:
        """Replace the world by the starting one; tokens that were issued stay good."""
        for vault in list(self.world.vaults.values()):
            await self.close_vault(vault)
        self.world.clear()
        seeds.populate(self.world)
        await self._open_vaults()

    async def open_vault(self, vault: Vault) -> None:
        """Serve a vault on its remembered port or a free one."""
        runner = await self._run(vault_target(vault.name), keyvault_app(self.world, vault))
        vault.port = (await _add_site(runner, vault.port, self._tls)).port

    async def close_vault(self, vault: Vault) -> None:
        """Stop serving a vault."""
        await self._runners.pop(vault_target(vault.name)).cleanup()

    async def add_site(self, target: str, tls: ssl.SSLContext) -> Site:
        """Let `entra`, `arm` or a vault (see `vault_target`) answer on one more port, over other TLS."""
        return await _add_site(self._runners[target], 0, tls)

    async def _open_vaults(self) -> None:
        for vault in self.world.vaults.values():
            await self.open_vault(vault)

    async def _open(self, name: str, app: web.Application, tls: ssl.SSLContext | None) -> None:
        runner = await self._run(name, app)
        self.world.ports[name] = (await _add_site(runner, self.world.ports.get(name, 0), tls)).port

    async def _run(self, name: str, app: web.Application) -> web.AppRunner:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
        await runner.setup()
        self._runners[name] = runner
        return runner


def vault_target(name: str) -> str:
    """Return the listener name of a vault, which no service's can equal."""
    return f"vault:{name.lower()}"


def server_context(leaf: Leaf, *, client_ca: Path | None = None) -> ssl.SSLContext:
    """Return the TLS settings of a listener; with `client_ca` it demands a client certificate of that authority."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(client_ca) if client_ca else None)
    context.load_cert_chain(leaf.cert_file, leaf.key_file)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


async def _add_site(runner: web.AppRunner, port: int, tls: ssl.SSLContext | None) -> Site:
    # A port of 0, or one that is taken, becomes a free one.
    listener = _bind(port)
    bound: int = listener.getsockname()[1]
    site = web.SockSite(runner, listener, ssl_context=tls, backlog=_BACKLOG)
    await site.start()

    async def stop() -> None:
        if site in runner.sites:  # else it went with its application
            await site.stop()

    return Site(bound, stop)


def _bind(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((_HOST, port))
    except OSError:
        if port == 0:
            listener.close()
            raise
        listener.bind((_HOST, 0))
    return listener
