"""Sharing clients: by group and connection, for as long as somebody uses them."""

from dataclasses import replace

import pytest
from azure.core.exceptions import ClientAuthenticationError

from core.adapters.azure.clients import AzureClients, SharedClients
from core.adapters.azure.credentials import AppIdentity
from core.adapters.azure.rate_limit import RateLimits
from core.domain.clouds import CLOUDS, CloudName
from core.domain.connections import Connection, Credential, CredentialKind, OpenConnection, VaultType
from core.domain.secrets import SecretText

GUID = "11111111-1111-1111-1111-111111111111"


def a_connection(sealed: str = "one") -> OpenConnection:
    credential = Credential(CredentialKind.CLIENT_SECRET, GUID, GUID, sealed=sealed)
    return OpenConnection(Connection(CLOUDS[CloudName.PUBLIC], credential, GUID), SecretText("secret"))


class CountingClients(AzureClients):
    """Counts how often it is closed."""

    closed = 0

    async def close(self) -> None:
        self.closed += 1
        await super().close()


def opener(connection: OpenConnection) -> CountingClients:
    return CountingClients(connection, AppIdentity(), RateLimits())


async def test_the_same_connection_shares_its_clients() -> None:
    shared = SharedClients(opener)
    async with shared.use("g", a_connection()) as first, shared.use("g", a_connection()) as second:
        assert first is second
    async with shared.use("g", a_connection()) as third:
        assert third is first
    await shared.close()
    assert isinstance(first, CountingClients)
    assert first.closed == 1


async def test_groups_do_not_share() -> None:
    shared = SharedClients(opener)
    async with shared.use("g", a_connection()) as first, shared.use("h", a_connection()) as second:
        assert first is not second
    await shared.close()


async def test_an_edited_connection_gets_new_clients_and_the_old_close_after_their_use() -> None:
    shared = SharedClients(opener)
    async with shared.use("g", a_connection()) as old:
        assert isinstance(old, CountingClients)
        async with shared.use("g", a_connection("two")) as new:
            assert new is not old
            assert old.closed == 0
    assert old.closed == 1
    await shared.close()


async def test_the_least_recently_used_leave_first() -> None:
    shared = SharedClients(opener, capacity=2)
    used: list[CountingClients] = []
    for group in ("a", "b", "a", "c"):
        async with shared.use(group, a_connection()) as clients:
            assert isinstance(clients, CountingClients)
            used.append(clients)
    assert [clients.closed for clients in used] == [0, 1, 0, 0]
    await shared.close()


async def test_clients_that_are_in_use_are_not_closed_under_their_user() -> None:
    shared = SharedClients(opener)
    async with shared.use("g", a_connection()) as clients:
        await shared.close()
        assert isinstance(clients, CountingClients)
        assert clients.closed == 0
    assert clients.closed == 1


async def test_a_credential_without_usable_form_leaves_nothing_open() -> None:
    connection = a_connection()
    certificate = replace(connection.connection.credential, kind=CredentialKind.CLIENT_CERTIFICATE)
    connection = replace(connection, connection=replace(connection.connection, credential=certificate))
    with pytest.raises(ClientAuthenticationError):
        opener(connection)


def test_a_vault_has_one_pacer_in_the_process() -> None:
    limits = RateLimits()
    first = limits.of("https://a.example", VaultType.STANDARD)
    assert limits.of("https://a.example", VaultType.STANDARD) is first
    for number in range(300):
        limits.of(f"https://{number}.example", VaultType.STANDARD)
    assert limits.of("https://a.example", VaultType.STANDARD) is not first
