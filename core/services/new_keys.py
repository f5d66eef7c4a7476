"""New keys in groups of either kind: generated, imported, brought as a transfer blob or as a copy of a source key.

Invariant: what the target does not take is refused before anything is sent.
"""

from datetime import datetime

from core.domain.groups import GroupKind, vault_of
from core.domain.key_kinds import KeyKind, target_of
from core.domain.key_names import in_vault as names_in_vault
from core.domain.key_settings import in_vault as version_in_vault
from core.domain.keys import CopiedFrom, KeyOrigin, VirtualKey
from core.domain.new_keys import NewKey
from core.domain.source_keys import SourceKey
from core.material.material import KeyMaterial
from core.ports import Clock, VaultKeys
from core.services.exchange_keys import ExchangeKeys
from core.services.group_vaults import GroupVaults
from core.services.material_sending import MaterialSenders
from core.services.placements import Placement, Placements
from core.services.source_keys import SourceKeys


class NewKeys:
    """Makes keys. Permissions of callers are decided before anything here is called."""

    def __init__(
        self,
        placements: Placements,
        exchange_keys: ExchangeKeys,
        sources: SourceKeys,
        vaults: GroupVaults,
        clock: Clock,
    ) -> None:
        self._placements = placements
        self._senders = MaterialSenders(exchange_keys)
        self._sources = sources
        self._vaults = vaults
        self._clock = clock

    async def generate(self, new: NewKey, kind: KeyKind) -> VirtualKey | SourceKey:
        """Generate a key: in the vault of an Azure group, or in Keysteward for a source group.

        Raises the errors of `core.domain.key_settings`, `core.domain.key_names`, Placements.place, VaultKeys.create
        and SourceKeys.generate.
        """
        if new.group.kind is GroupKind.SOURCE:
            return (await self._sources.generate(new, kind)).value
        placement = plan(new, kind, self._clock.now())
        async with self._vaults.opened(new.group) as keys:
            return await self._placements.place(
                keys, placement, lambda vault: vault.create(placement.azure_name, placement.new)
            )

    async def bring(
        self, new: NewKey, material: KeyMaterial, copied_from: CopiedFrom | None = None
    ) -> VirtualKey | SourceKey:
        """Import material or, with a link, copy it; the material is not kept but in a source group."""
        if new.group.kind is GroupKind.SOURCE:
            return (await self._sources.bring(new, material, copied_from)).value
        placement = plan(new, material.kind, self._clock.now(), material=material, copied_from=copied_from)
        async with self._vaults.opened(new.group) as keys:
            send = await self._senders.prepared(
                keys, new.group, placement.azure_name, placement.new, material, new.actor
            )
            return await self._placements.place(keys, placement, send)

    async def bring_blob(self, keys: VaultKeys, new: NewKey, kind: KeyKind, blob: bytes) -> VirtualKey:
        """Import a transfer blob that was made elsewhere, and checked."""
        placement = plan(new, kind, self._clock.now(), event="key.imported")
        return await self._placements.place(
            keys, placement, lambda vault: vault.import_transfer_blob(placement.azure_name, placement.new, blob)
        )


def plan(
    new: NewKey,
    kind: KeyKind,
    now: datetime,
    *,
    material: KeyMaterial | None = None,
    copied_from: CopiedFrom | None = None,
    event: str | None = None,
) -> Placement:
    """Return how a key comes into the vault of its group; the errors of `generate` that need no request."""
    vault = vault_of(new.group)
    target = target_of(vault.type, new.settings.protection)
    version = version_in_vault(target, kind, new.settings, new.group.key_policy, now)
    name, azure_name = names_in_vault(new.names, new.group.key_label)
    if copied_from is not None:
        origin, default_event = KeyOrigin.KEYSTEWARD, "key.copied"
    elif material is not None or event is not None:
        origin, default_event = KeyOrigin.IMPORTED, "key.imported"
    else:
        origin, default_event = KeyOrigin.NATIVE, "key.created"
    return Placement(
        request=new,
        name=name,
        azure_name=azure_name,
        new=version,
        origin=origin,
        event=event or default_event,
        thumbprint=material.public_key.thumbprint if material else None,
        copied_from=copied_from,
    )
