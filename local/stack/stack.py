"""The supervisor: starts the parts in order, waits until each is healthy, and stops them all.

Invariant: whatever happens, no part outlives the `Stack`; when one does not start, those already started are stopped.
"""

import asyncio
import ssl
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp

from local.emulator import seeds
from local.stack.azurite import StorageEndpoints, start_azurite
from local.stack.emulator import EmulatorEndpoints, start_emulator
from local.stack.environment import app_settings, base_environment, identity_settings
from local.stack.host import HostOptions, HostPart, start_host
from local.stack.part import Launcher, StackError
from local.tls import Authority, ensure_authority

ROOT = Path(__file__).resolve().parents[2]
_SEALING_KEY = "keysteward-sealing"


class Stack:
    """Azurite, the emulator and the host with the app.

    `data_dir` holds logs, certificates and keys, and the state of vaults and storage unless `ephemeral`. `settings` are
    app settings on top of those that a deployment has.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        ephemeral: bool = True,
        settings: Mapping[str, str] | None = None,
        host_options: HostOptions | None = None,
    ) -> None:
        self.data_dir = data_dir.resolve()
        self.logs_dir = self.data_dir / "logs"
        self._ephemeral = ephemeral
        self._extra_settings = dict(settings or {})
        self._host_options = host_options or HostOptions(app_dir=ROOT)
        self._launcher: Launcher | None = None
        self._endpoints: EmulatorEndpoints | None = None
        self._host: HostPart | None = None
        self.app_settings: Mapping[str, str] = {}

    async def __aenter__(self) -> Self:
        """Start everything, or raise StackError and leave nothing running."""
        try:
            await self._start()
        except ExceptionGroup as group:
            await self.stop()
            raise group.exceptions[0] from group
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Stop everything."""
        await self.stop()

    @property
    def launcher(self) -> Launcher:
        """The processes of the stack."""
        return _started(self._launcher)

    @property
    def host(self) -> HostPart:
        """The host: its process and its admin routes."""
        return _started(self._host)

    @property
    def endpoints(self) -> EmulatorEndpoints:
        """The emulator's addresses."""
        return _started(self._endpoints)

    @property
    def host_url(self) -> str:
        """Base address of the app, without the `/api` prefix."""
        return self.host.url

    @property
    def control_url(self) -> str:
        """Base address of the emulator's control API."""
        return self.endpoints.control_url

    @property
    def entra_url(self) -> str:
        """Base address of the emulated Entra."""
        return self.endpoints.entra_url

    @property
    def arm_url(self) -> str:
        """Base address of the emulated Azure Resource Manager."""
        return self.endpoints.arm_url

    @property
    def ca_file(self) -> Path:
        """Certificate of the CA that signed every https address of the stack."""
        return Path(self.endpoints.ca_file)

    async def user_token(self, user: str) -> str:
        """Return a token of a seeded user (such as 'alice') for the app's API."""
        form = {
            "grant_type": "password",
            "client_id": seeds.API_CLIENT_ID,
            "scope": f"{seeds.API_AUDIENCE}/.default",
            "username": f"{user}@{seeds.USER_DOMAIN}",
            "password": seeds.USER_PASSWORD,
        }
        url = f"{self.entra_url}/{seeds.CONTOSO_TENANT_ID}/oauth2/v2.0/token"
        trust = ssl.create_default_context(cafile=self.ca_file)
        async with aiohttp.ClientSession() as session, session.post(url, data=form, ssl=trust) as response:
            answer = await response.json()
        if "access_token" not in answer:
            raise StackError(f"no token for {user}: {answer.get('error_description')}")
        return str(answer["access_token"])

    async def kill_host(self) -> None:
        """End the host without warning, as a crash does; it stays down."""
        await self.host.part.kill()

    async def restart_host(self) -> None:
        """Stop the host if it still runs, and start it again at the same address."""
        port = int(self.host.url.rpartition(":")[2])
        self._host_options = replace(self._host_options, port=port)
        await self.host.part.stop()
        self.launcher.parts.remove(self.host.part)
        await self._start_host()

    async def stop(self) -> None:
        """Stop every part, the host first."""
        if self._launcher is not None:
            await self._launcher.stop()

    async def _start(self) -> None:
        emulator_dir = self.data_dir / "emulator"
        authority = await asyncio.to_thread(ensure_authority, emulator_dir / "tls")
        self._launcher = Launcher(ROOT, self.logs_dir, base_environment(authority.ca_file, ROOT))
        async with asyncio.TaskGroup() as group:
            storage = group.create_task(self._start_azurite(authority))
            sealing_key = group.create_task(self._start_emulator(emulator_dir))
        settings = app_settings(self.endpoints, storage.result(), sealing_key.result())
        self.app_settings = settings | self._extra_settings
        await self._start_host()

    async def _start_azurite(self, authority: Authority) -> StorageEndpoints:
        location = None if self._ephemeral else self.data_dir / "azurite"
        return await start_azurite(self.launcher, authority, location)

    async def _start_emulator(self, emulator_dir: Path) -> str:
        """Start the emulator and return the id of the sealing key in its platform vault."""
        self._endpoints = await start_emulator(self.launcher, emulator_dir, ephemeral=self._ephemeral)
        sealing_key = f"{await self._platform_vault_url()}/keys/{_SEALING_KEY}"
        command = [sys.executable, "-m", "local.stack.sealing_key", sealing_key]
        part = await self.launcher.start("sealing-key", command, identity_settings(self._endpoints))
        if await part.wait() != 0:
            raise part.failure("could not be made")
        self.launcher.parts.remove(part)
        return sealing_key

    async def _platform_vault_url(self) -> str:
        async with aiohttp.ClientSession() as session, session.get(f"{self.control_url}/control/world") as response:
            world = await response.json()
        return next(str(vault["uri"]).rstrip("/") for vault in world["vaults"] if vault["name"] == seeds.PLATFORM_VAULT)

    async def _start_host(self) -> None:
        issuer = f"{self.entra_url}/{seeds.CONTOSO_TENANT_ID}/v2.0"
        self._host = await start_host(
            self.launcher,
            self._host_options,
            self.data_dir,
            settings=self.app_settings,
            authentication=["--auth-issuer", issuer, "--auth-audience", seeds.API_AUDIENCE],
        )


def _started[T](part: T | None) -> T:
    if part is None:
        raise StackError("the stack is not started")
    return part
