"""Which group a vault is linked to, at most one in an account; and the label with which its keys' names begin."""

import hashlib

from core.domain.groups import Group
from core.domain.key_names import label_of
from core.domain.reservations import Reservation
from core.errors import ConflictError
from core.ports import Collection
from core.services.reservations import Reservations

_LABELS = 1_000


class VaultLinks:
    """Reserves vaults and labels for groups."""

    def __init__(self, reservations: Reservations, groups: Collection[Group]) -> None:
        self._reservations = reservations
        self._groups = groups

    async def reserve(self, account: str, resource_id: str, group: str) -> None:
        """Link the vault to the group; ConflictError `vault_already_linked` if another group has it."""
        id_ = _vault(resource_id)

        async def in_use(reservation: Reservation) -> bool:
            holder = await self._groups.get(account, reservation.holder)
            vault = holder.value.vault if holder else None
            return vault is not None and _vault(vault.resource_id) == id_

        if not await self._reservations.take(account, id_, group, in_use):
            raise ConflictError("Another group of the account is linked to this vault.", code="vault_already_linked")

    async def label(self, account: str, vault_name: str, group: str) -> str:
        """Return a label that no other group of the account has: the vault's name, if that is free."""

        async def in_use(reservation: Reservation) -> bool:
            holder = await self._groups.get(account, reservation.holder)
            return holder is not None and holder.value.vault is not None

        for number in range(1, _LABELS):
            label = label_of(vault_name, number)
            if await self._reservations.take(account, _label(label), group, in_use):
                return label
        raise ConflictError("Too many vaults of the account have this name.", code="vault_already_linked")

    async def release(self, group: Group) -> None:
        """Give vault and label of a group back."""
        if group.vault is not None:
            await self._reservations.release(group.account, _vault(group.vault.resource_id), group.id)
        if group.label:
            await self._reservations.release(group.account, _label(group.label), group.id)


def _vault(resource_id: str) -> str:
    """Azure compares resource ids without case."""
    return f"vault-{hashlib.sha256(resource_id.lower().encode()).hexdigest()}"


def _label(label: str) -> str:
    return f"label-{hashlib.sha256(label.lower().encode()).hexdigest()}"
