"""The services of the product, as the edge meets them; `core/wiring.py` makes them."""

from dataclasses import dataclass

from core.ports import Clock, Sealer
from core.services.access import Access
from core.services.accounts import Accounts, CreateAccount
from core.services.action_settling import ActionJobs, ActionSettling
from core.services.api_keys import ApiKeys
from core.services.applications import Applications
from core.services.attribute_actions import AttributeActions
from core.services.connections import Connections
from core.services.copies import Copies
from core.services.deletion_actions import DeletionActions
from core.services.drift_reviews import DriftReviews
from core.services.drills import Drills
from core.services.escrows import Escrows
from core.services.exchange_keys import ExchangeKeys
from core.services.expiring_keys import ExpiringKeys
from core.services.exports import Exports
from core.services.findings import Findings
from core.services.given_keys import GivenKeys
from core.services.group_members import GroupMembers
from core.services.groups import Groups
from core.services.idempotency import Idempotency
from core.services.intents import Intents
from core.services.jobs import Jobs
from core.services.keys import Keys
from core.services.me import WhoAmI
from core.services.members import Members
from core.services.new_keys import NewKeys
from core.services.placements import Placements
from core.services.reimports import Reimports
from core.services.restoring import Restores
from core.services.retirements import Retirements
from core.services.rewrap import RewrapDataKeys
from core.services.rotation_jobs import RotationJobs
from core.services.rotation_schedules import RotationSchedules
from core.services.rotations import Rotations
from core.services.scratch_restores import ScratchRestores
from core.services.source_attributes import SourceAttributes
from core.services.source_keys import SourceKeys
from core.services.source_rotations import SourceRotations
from core.services.syncs import Syncs
from core.services.transfers import Transfers
from core.services.vault_rotations import VaultRotations
from core.services.verify_api_key import VerifyApiKey


@dataclass(frozen=True, slots=True)
class App:
    """The services of the product, wired."""

    clock: Clock
    sealer: Sealer
    access: Access
    verify_api_key: VerifyApiKey
    idempotency: Idempotency
    create_account: CreateAccount
    accounts: Accounts
    members: Members
    applications: Applications
    api_keys: ApiKeys
    group_members: GroupMembers
    who_am_i: WhoAmI
    connections: Connections
    groups: Groups
    syncs: Syncs
    drills: Drills
    scratch_restores: ScratchRestores
    drift_reviews: DriftReviews
    vault_rotations: VaultRotations
    expiring_keys: ExpiringKeys
    jobs: Jobs
    keys: Keys
    source_keys: SourceKeys
    new_keys: NewKeys
    given_keys: GivenKeys
    copies: Copies
    exports: Exports
    transfers: Transfers
    exchange_keys: ExchangeKeys
    placements: Placements
    intents: Intents
    attributes: AttributeActions
    source_attributes: SourceAttributes
    deletions: DeletionActions
    restores: Restores
    settling: ActionSettling
    action_jobs: ActionJobs
    reimports: Reimports
    retirements: Retirements
    rotations: Rotations
    source_rotations: SourceRotations
    rotation_jobs: RotationJobs
    rotation_schedules: RotationSchedules
    escrows: Escrows
    findings: Findings
    rewrap_data_keys: RewrapDataKeys
