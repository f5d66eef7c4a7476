"""Opens vaults, reads their facts, and tests connections from sign-in to the vault's key permissions."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta

from core.adapters.azure.clients import AzureClients, SharedClients, opened
from core.adapters.azure.credentials import AppIdentity
from core.adapters.azure.failures import CALL_ERRORS, DETAILS, failure_of
from core.adapters.azure.permissions import ProbeError, probe
from core.adapters.azure.rate_limit import RateLimits
from core.adapters.azure.resources import Discovery, ManagementError, discover, read
from core.adapters.azure.vault_keys import AzureVaultKeys
from core.adapters.azure.vault_requests import VaultRequests
from core.domain.connections import (
    ConnectionCause,
    ConnectionReport,
    ConnectionStage,
    OpenConnection,
    PermissionState,
    VaultFacts,
)
from core.ports import Clock, VaultKeys

_TEST_SECONDS = 90
_EXPIRY_NOTICE = timedelta(days=30)
#: Without these a vault's keys can be neither synced nor escrowed.
_NEEDED = ("get", "list", "backup")


class AzureVaults:
    """`ports.Vaults` over the SDKs; one instance for the process."""

    def __init__(self, clock: Clock, identity: AppIdentity, limits: RateLimits | None = None) -> None:
        self._clock = clock
        self._identity = identity
        self._limits = limits or RateLimits()
        self._shared = SharedClients(self._clients)

    def keys(self, group: str, connection: OpenConnection, vault: VaultFacts) -> AbstractAsyncContextManager[VaultKeys]:
        """Open the data plane of a group's vault, with clients that stay open for the next use."""
        return self._keys(group, connection, vault)

    async def facts(self, connection: OpenConnection, vault: VaultFacts) -> VaultFacts:
        """Read the vault's facts again from ARM; NotFoundError `vault_not_found`."""
        try:
            clients = self._clients(connection)
        except CALL_ERRORS as error:
            raise failure_of(error).error() from None
        async with opened(clients):
            return await read(clients.management, vault, self._clock.now())

    async def test(self, connection: OpenConnection, vault: VaultFacts | None) -> ConnectionReport:
        """Sign in, list the subscription's vaults, probe `vault` where given; always with clients of its own.

        A sign-in that another use had cached would hide that a secret was taken away since.
        """
        now = self._clock.now()
        steps = _Test(ConnectionReport(now, warnings=_warnings(connection, now)))
        try:
            async with asyncio.timeout(_TEST_SECONDS), opened(self._clients(connection)) as clients:
                await steps.run(clients, connection, vault, now)
        except (ManagementError, ProbeError) as error:
            return steps.failed(error.failure.cause)
        except CALL_ERRORS as error:
            return steps.failed(failure_of(error).cause)
        return steps.report

    async def close(self) -> None:
        """Close all clients."""
        await self._shared.close()

    def _clients(self, connection: OpenConnection) -> AzureClients:
        return AzureClients(connection, self._identity, self._limits)

    @asynccontextmanager
    async def _keys(self, group: str, connection: OpenConnection, vault: VaultFacts) -> AsyncIterator[VaultKeys]:
        async with self._shared.use(group, connection) as clients:
            client, pacer = clients.keys(vault)
            yield AzureVaultKeys(VaultRequests(client, vault, pacer))


class _Test:
    """One test under way: what is known so far, and at which stage it stands."""

    def __init__(self, report: ConnectionReport) -> None:
        self.report = report
        self._stage = ConnectionStage.SIGN_IN

    async def run(
        self, clients: AzureClients, connection: OpenConnection, vault: VaultFacts | None, now: datetime
    ) -> None:
        """Go through the stages; what fails leaves as the error of its stage."""
        await clients.credential.get_token_info(connection.connection.cloud.resource_manager_scope)
        self._stage = ConnectionStage.MANAGEMENT
        discovery = await discover(clients.management, now)
        self._add(discovery)
        if not discovery.vaults:
            self.report = self.failed(ConnectionCause.NO_VAULT)
        elif vault is not None:
            await self._look_at(clients, vault)

    def failed(self, cause: ConnectionCause) -> ConnectionReport:
        """Return what is known, with the cause why it is not more."""
        return replace(self.report, cause=cause, stage=self._stage, detail=DETAILS[cause])

    async def _look_at(self, clients: AzureClients, vault: VaultFacts) -> None:
        wanted = vault.resource_id.lower()
        current = next((facts for facts in self.report.vaults if facts.resource_id.lower() == wanted), None)
        if current is None:
            self.report = self.failed(ConnectionCause.VAULT_NOT_FOUND)
            return
        self._stage = ConnectionStage.VAULT
        permissions = await probe(clients.keys(current)[0], current)
        self.report = replace(self.report, permissions=permissions, warnings=self._vault_warnings(current, permissions))
        if dict(permissions)["list"] is PermissionState.MISSING:
            self.report = self.failed(ConnectionCause.ACCESS_DENIED)

    def _add(self, discovery: Discovery) -> None:
        warnings = self.report.warnings + discovery.warnings
        self.report = replace(self.report, vaults=discovery.vaults, warnings=warnings)

    def _vault_warnings(
        self, vault: VaultFacts, permissions: tuple[tuple[str, PermissionState], ...]
    ) -> tuple[str, ...]:
        missing = [name for name, state in permissions if name in _NEEDED and state is PermissionState.MISSING]
        added = []
        if not vault.purge_protection:
            added.append("The vault has no purge protection: a deleted key can be purged before its retention ends.")
        if missing:
            added.append(f"Sync and escrow need key permissions that are missing: {', '.join(missing)}.")
        return (*self.report.warnings, *added)


def _warnings(connection: OpenConnection, now: datetime) -> tuple[str, ...]:
    tls, expires_on = connection.connection.tls, connection.connection.credential.expires_on
    found = []
    if not tls.validate_host:
        found.append("Host names of certificates are not validated.")
    if expires_on is not None and expires_on <= now:
        found.append("The credential is expired.")
    elif expires_on is not None and expires_on - now <= _EXPIRY_NOTICE:
        found.append(f"The credential expires on {expires_on:%Y-%m-%d}.")
    return tuple(found)
