"""The part of the composition root that is about keys: stores in, services out, whatever stands behind the ports."""

from dataclasses import dataclass

from core.domain.exchange_keys import GroupExchangeKeys
from core.domain.groups import Group
from core.domain.intents import Intent
from core.domain.keys import VirtualKey
from core.domain.reservations import Reservation
from core.domain.source_keys import SourceKey
from core.ports import Clock, Collection, OrderedIndex, Sealer, Vaults
from core.services.copies import Copies
from core.services.copy_work import CopyWork
from core.services.display_names import DisplayNames
from core.services.escrows import Escrows
from core.services.exchange_keys import ExchangeKeys
from core.services.exports import Exports
from core.services.findings import Findings
from core.services.given_keys import GivenKeys
from core.services.group_vaults import GroupConnections, GroupVaults
from core.services.intents import Intents
from core.services.jobs import Jobs
from core.services.key_records import KeyRecords
from core.services.materials import Materials, SealedMaterial
from core.services.new_keys import NewKeys
from core.services.placements import Placements
from core.services.reservations import Reservations
from core.services.source_keys import SourceKeys
from core.services.source_records import SourceRecords
from core.services.transfers import Transfers
from core.services.vault_links import VaultLinks
from core.services.vault_names import VaultNames


@dataclass(frozen=True, slots=True)
class KeyStores:
    """Where everything about keys is stored."""

    groups: Collection[Group]
    keys: Collection[VirtualKey]
    source_keys: Collection[SourceKey]
    materials: Collection[SealedMaterial]
    intents: Collection[Intent]
    exchange_keys: Collection[GroupExchangeKeys]
    names: Collection[Reservation]
    index: OrderedIndex


class KeyServices:
    """The services that bring keys into groups, made once from their stores."""

    def __init__(
        self,
        stores: KeyStores,
        *,
        vaults: Vaults,
        connections: GroupConnections,
        sealer: Sealer,
        escrows: Escrows,
        clock: Clock,
    ) -> None:
        reservations = Reservations(stores.names, clock)
        self.names = DisplayNames(reservations, stores.index)
        self._clock = clock
        self.links = VaultLinks(reservations, stores.groups)
        findings = Findings(stores.index, clock)
        self.records = KeyRecords(stores.keys, stores.index, findings)
        self.intents = Intents(stores.intents, stores.index, clock)
        group_vaults = self.vaults = GroupVaults(stores.groups, vaults, connections)
        self.source_records = SourceRecords(stores.source_keys, stores.index, clock)
        materials = Materials(stores.materials, sealer)
        self.source_keys = SourceKeys(self.source_records, materials, self.names, findings, clock)
        self.placements = Placements(
            group_vaults,
            self.intents,
            names=self.names,
            vault_names=VaultNames(stores.index),
            sources=self.source_keys,
            records=self.records,
            escrows=escrows,
            clock=clock,
        )
        self.exchange_keys = ExchangeKeys(
            stores.exchange_keys,
            stores.index,
            placements=self.placements,
            vaults=group_vaults,
            records=self.records,
            clock=clock,
        )
        self.given_keys = GivenKeys(self.source_keys)
        self.exports = Exports(self.source_keys)
        self.new_keys = NewKeys(self.placements, self.exchange_keys, self.source_keys, group_vaults, clock)
        self.transfers = Transfers(self.exchange_keys, self.new_keys, self.source_keys, group_vaults, clock)
        self.copy_work = CopyWork(self.new_keys, self.source_keys, group_vaults, clock)

    def copies(self, jobs: Jobs) -> Copies:
        """Return what orders copies, with the jobs that make them."""
        return Copies(self.source_keys, self.names, jobs, self._clock)
