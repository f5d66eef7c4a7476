"""The part of the composition root that is about the life of keys: actions on keys that are there."""

from core.ports import Clock, OrderedIndex
from core.services.action_settling import ActionSettling
from core.services.attribute_actions import AttributeActions
from core.services.deletion_actions import DeletionActions
from core.services.display_names import DisplayNames
from core.services.escrow_guard import EscrowGuard
from core.services.escrows import Escrows
from core.services.exchange_keys import ExchangeKeys
from core.services.findings import Findings
from core.services.group_vaults import GroupVaults
from core.services.key_records import KeyRecords
from core.services.key_refresh import KeyRefresh
from core.services.material_sending import MaterialSenders
from core.services.open_actions import OpenActions
from core.services.opened_keys import OpenedKeys
from core.services.reimports import Reimports
from core.services.restoring import Restores
from core.services.retirements import Retirements
from core.services.source_attributes import SourceAttributes
from core.services.source_keys import SourceKeys
from core.services.source_records import SourceRecords
from core.services.vault_names import VaultNames
from core.services.version_making import VersionMaking


class ActionServices:
    """The services that change keys, made once."""

    def __init__(  # noqa: PLR0913 - the collaborators
        self,
        index: OrderedIndex,
        *,
        vaults: GroupVaults,
        records: KeyRecords,
        source_records: SourceRecords,
        sources: SourceKeys,
        exchange_keys: ExchangeKeys,
        escrows: Escrows,
        names: DisplayNames,
        clock: Clock,
    ) -> None:
        refresh = KeyRefresh(records, clock)
        self.actions = OpenActions(records, index, clock)
        self.opened = OpenedKeys(vaults, records, refresh)
        self.guard = EscrowGuard(escrows, records, clock)
        self.attributes = AttributeActions(self.opened, self.actions, clock)
        self.source_attributes = SourceAttributes(source_records, clock)
        self.deletions = DeletionActions(
            self.opened, self.actions, self.guard, records=records, escrows=escrows, names=names, clock=clock
        )
        self.restores = Restores(self.opened, self.actions, escrows, clock)
        self.retirements = Retirements(
            self.opened, self.actions, index, records=records, sources=source_records, clock=clock
        )
        self.making = VersionMaking(
            refresh,
            self.actions,
            sources=sources,
            escrows=escrows,
            retirements=self.retirements,
            findings=Findings(index, clock),
            clock=clock,
        )
        self.senders = MaterialSenders(exchange_keys)
        self.reimports = Reimports(
            self.opened,
            self.making,
            self.senders,
            sources=sources,
            names=names,
            vault_names=VaultNames(index),
            clock=clock,
        )
        self.settling = ActionSettling(
            vaults,
            records,
            refresh,
            self.actions,
            deletions=self.deletions,
            restores=self.restores,
            making=self.making,
            reimports=self.reimports,
            clock=clock,
        )
