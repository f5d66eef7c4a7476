"""The SDK clients of a connection, made once and shared by whoever uses the connection.

Invariants: one session, one credential and one key client per vault for a connection; clients are closed when nobody
uses them and they were replaced, or pushed out by others; an edited connection never shares clients with its old self.
"""

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from azure.core.exceptions import ClientAuthenticationError
from azure.keyvault.keys.aio import KeyClient
from azure.mgmt.keyvault.aio import KeyVaultManagementClient

from core.adapters.azure.credentials import AppIdentity, QueuedCredential, open_credential
from core.adapters.azure.rate_limit import PacingPolicy, RateLimits, VaultPacer
from core.adapters.azure.retries import BoundedRetryPolicy, SendingPolicy
from core.adapters.azure.transports import open_direct_session, open_session, transport
from core.domain.connections import Connection, OpenConnection, VaultFacts

_SHARED = 64


class AzureClients:
    """Everything that one connection talks through."""

    def __init__(self, connection: OpenConnection, identity: AppIdentity, limits: RateLimits) -> None:
        """Open the sessions.

        ClientAuthenticationError or ssl.SSLError where a credential or client certificate has no usable form.
        """
        self._connection = connection.connection
        self._limits = limits
        self._session = open_session(connection)
        self._direct = open_direct_session()
        self._key_clients: dict[str, KeyClient] = {}
        self.credential = self._open_credential(connection, identity)
        self.management = KeyVaultManagementClient(
            self.credential,
            self._connection.subscription_id,
            self._connection.cloud.resource_manager,
            credential_scopes=[self._connection.cloud.resource_manager_scope],
            transport=transport(self._session),
            retry_policy=BoundedRetryPolicy(),
        )

    def keys(self, vault: VaultFacts) -> tuple[KeyClient, VaultPacer]:
        """Return the key client of a vault and the pacer that its requests pass."""
        pacer = self._limits.of(vault.uri, vault.type)
        client = self._key_clients.get(vault.uri)
        if client is None:
            client = self._key_clients[vault.uri] = KeyClient(
                vault.uri,
                self.credential,
                verify_challenge_resource=self._connection.cloud.verify_challenge_resource,
                transport=transport(self._session),
                retry_policy=BoundedRetryPolicy(),
                per_retry_policies=[PacingPolicy(pacer)],
                # The SDK has no other place between its authentication, which asks for tokens, and the transport.
                custom_hook_policy=SendingPolicy(),
            )
        return client, pacer

    def _open_credential(self, connection: OpenConnection, identity: AppIdentity) -> QueuedCredential:
        try:
            return open_credential(connection, identity, transport(self._session), transport(self._direct))
        except ValueError:
            # Nothing was sent through the sessions yet, so there is nothing to wait for.
            self._session.detach()
            self._direct.detach()
            raise ClientAuthenticationError(message="The credential has no usable form.") from None

    async def close(self) -> None:
        """Close the sessions, and with them every client."""
        await self.credential.close()
        await self._session.close()
        await self._direct.close()


@dataclass(slots=True)
class _Entry:
    clients: AzureClients
    users: int = 0
    retired: bool = False


class SharedClients:
    """Clients by group and connection. The sealed secrets are part of a connection, and tell its editions apart."""

    def __init__(self, opener: Callable[[OpenConnection], AzureClients], capacity: int = _SHARED) -> None:
        self._open = opener
        self._capacity = capacity
        self._entries: OrderedDict[str, tuple[Connection, _Entry]] = OrderedDict()

    @asynccontextmanager
    async def use(self, group: str, connection: OpenConnection) -> AsyncIterator[AzureClients]:
        """Lend the clients of a group's connection."""
        entry = await self._entry(group, connection)
        try:
            yield entry.clients
        finally:
            entry.users -= 1
            await _close_if_over(entry)

    async def close(self) -> None:
        """Close all that is unused, and the rest when its use ends."""
        while self._entries:
            await _retire(self._entries.popitem()[1][1])

    async def _entry(self, group: str, connection: OpenConnection) -> _Entry:
        known = self._entries.get(group)
        if known is not None and known[0] == connection.connection:
            self._entries.move_to_end(group)
            known[1].users += 1
            return known[1]
        entry = _Entry(self._open(connection), users=1)
        # Nothing is awaited until the table is right again.
        leaving = [self._entries.pop(group)[1]] if known is not None else []
        self._entries[group] = (connection.connection, entry)
        while len(self._entries) > self._capacity:
            leaving.append(self._entries.popitem(last=False)[1][1])
        for retired in leaving:
            await _retire(retired)
        return entry


async def _retire(entry: _Entry) -> None:
    entry.retired = True
    await _close_if_over(entry)


async def _close_if_over(entry: _Entry) -> None:
    if entry.retired and entry.users == 0:
        await entry.clients.close()


@asynccontextmanager
async def opened(clients: AzureClients) -> AsyncIterator[AzureClients]:
    """Use clients once and close them."""
    try:
        yield clients
    finally:
        await clients.close()
