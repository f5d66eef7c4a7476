"""What an administrator does to vaults behind Keysteward's back, with the official SDK."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from azure.core.exceptions import ResourceNotFoundError
from azure.keyvault.keys.aio import KeyClient

from local.demo.expect import UnexpectedError
from local.demo.stage import Application, Stage, Vault

type Clients = dict[str, KeyClient]

_LONGEST_PURGE = 30.0
_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Change:
    """One change: in which vault, to which key, in words, and the kind of drift that it is."""

    vault: str
    key: str
    words: str
    drift: str
    make: Callable[[KeyClient, str], Awaitable[object]]


async def _disable(keys: KeyClient, name: str) -> None:
    await keys.update_key_properties(name, enabled=False)


async def _retag(keys: KeyClient, name: str) -> None:
    await keys.update_key_properties(name, tags={"env": "test", "owner": "unknown"})


async def _restrict(keys: KeyClient, name: str) -> None:
    await keys.update_key_properties(name, key_operations=["sign", "verify"])


async def _shorten(keys: KeyClient, name: str) -> None:
    expires_on = (datetime.now(UTC) + timedelta(days=7)).replace(microsecond=0)
    await keys.update_key_properties(name, expires_on=expires_on)


DELETED = "card-token-000003"
CHANGES = (
    Change("payments", "settlement-000000", "a new version is made", "new_version", KeyClient.rotate_key),
    Change("payments", "card-token-000001", "the tags are changed", "tags", _retag),
    Change("payments", "ledger-signing-000000", "operations are taken away", "operations", _restrict),
    Change("payments", DELETED, "the key is deleted", "soft_deleted", KeyClient.delete_key),
    Change("webshop", "session-000000", "an expiry date is set", "dates", _shorten),
    Change("webshop", "voucher-000000", "a deleted key is recovered", "recovered", KeyClient.recover_deleted_key),
    Change("roots", "tenant-wrap-000000", "the key is disabled", "enabled", _disable),
)


@asynccontextmanager
async def signed_in(stage: Stage, vaults: list[Vault], administrator: Application) -> AsyncIterator[Clients]:
    """Open the official SDK's client for every vault, by its name."""
    async with AsyncExitStack() as opened:
        credential = await opened.enter_async_context(stage.credential(administrator))
        clients = {vault.seeded.name: stage.key_client(vault, credential) for vault in vaults}
        for client in clients.values():
            await opened.enter_async_context(client)
        yield clients


async def make_changes(clients: Clients) -> None:
    """Make all of CHANGES; they are visible in the vaults when this returns."""
    await asyncio.gather(*(change.make(clients[change.vault], change.key) for change in CHANGES))


async def purge(keys: KeyClient, name: str) -> None:
    """Purge a soft-deleted key, and wait until its vault shows it no more."""
    await keys.purge_deleted_key(name)
    try:
        async with asyncio.timeout(_LONGEST_PURGE):
            while True:
                await keys.get_deleted_key(name)
                await asyncio.sleep(_POLL_SECONDS)
    except ResourceNotFoundError:
        return
    except TimeoutError:
        raise UnexpectedError(f"the vault still shows {name} {_LONGEST_PURGE:.0f} s after its purge") from None
