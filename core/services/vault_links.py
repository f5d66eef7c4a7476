"""Which group a vault is linked to: at most one in an account."""

import hashlib
from contextlib import suppress

from core.domain.groups import Group
from core.domain.reservations import Reservation
from core.errors import AlreadyExistsError, ConflictError, StaleWriteError
from core.ports import Clock, Collection


class VaultLinks:
    """Reserves vaults for groups; the insert of a row decides between two who want the same one."""

    def __init__(self, names: Collection[Reservation], groups: Collection[Group], clock: Clock) -> None:
        self._names = names
        self._groups = groups
        self._clock = clock

    async def reserve(self, account: str, resource_id: str, group: str) -> None:
        """Link the vault to the group; ConflictError `vault_already_linked` if another group has it."""
        id_ = _id(resource_id)
        reservation = Reservation(group, self._clock.now())
        with suppress(AlreadyExistsError):
            await self._names.insert(account, id_, reservation)
            return
        held = await self._names.get(account, id_)
        if held is not None and held.value.holder == group:
            return
        if held is None or not await self._left_over(account, id_, held.value):
            raise _already_linked()
        try:
            await self._names.replace(account, id_, reservation, held.etag)
        except StaleWriteError:
            raise _already_linked() from None

    async def release(self, account: str, resource_id: str, group: str) -> None:
        """Unlink the vault if the group has it."""
        held = await self._names.get(account, _id(resource_id))
        if held is not None and held.value.holder == group:
            with suppress(StaleWriteError):
                await self._names.delete(account, _id(resource_id), held.etag)

    async def _left_over(self, account: str, id_: str, reservation: Reservation) -> bool:
        holder = await self._groups.get(account, reservation.holder)
        vault = holder.value.vault if holder else None
        return reservation.left_over(self._clock.now(), in_use=vault is not None and _id(vault.resource_id) == id_)


def _id(resource_id: str) -> str:
    """Azure compares resource ids without case."""
    return f"vault-{hashlib.sha256(resource_id.lower().encode()).hexdigest()}"


def _already_linked() -> ConflictError:
    return ConflictError("Another group of the account is linked to this vault.", code="vault_already_linked")
