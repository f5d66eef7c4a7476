"""The composition root: settings in, services out. The only place that knows which adapter stands behind which port.

Invariant: a process makes its clients once, at the first use, in the event loop that uses them.
"""

import asyncio

from azure.identity.aio import ManagedIdentityCredential

from core.action_wiring import ActionServices
from core.adapters.azure.credentials import AppIdentity
from core.adapters.azure.transports import open_direct_session, transport
from core.adapters.azure.vaults import AzureVaults
from core.adapters.blobs import ContainerBlobs
from core.adapters.clock import SystemClock
from core.adapters.data_key_records import BlobDataKeyRecords
from core.adapters.data_keys import CachedDataKeys
from core.adapters.queues import WorkQueue
from core.adapters.sealing import JweSealer
from core.adapters.sealing_key import VaultSealingKey, open_sealing_key
from core.adapters.storage import JOB_QUEUE, Storage
from core.adapters.tables import TableCollection
from core.adapters.tree_nodes import TableNodeStore
from core.adapters.trees import TreeIndex
from core.app import App
from core.care_wiring import CareServices
from core.domain.accounts import Account, ApiKey, Principal
from core.domain.exchange_keys import GroupExchangeKeys
from core.domain.groups import Group
from core.domain.idempotency import IdempotentRequest
from core.domain.identities import Identity
from core.domain.intents import Intent
from core.domain.jobs import Job, JobKind
from core.domain.keys import VirtualKey
from core.domain.reservations import Reservation
from core.domain.source_keys import SourceKey
from core.key_wiring import KeyServices, KeyStores
from core.ports import Clock
from core.rotation_wiring import RotationServices
from core.services.access import Access
from core.services.accounts import Accounts, CreateAccount
from core.services.action_settling import ActionJobs
from core.services.api_keys import ApiKeys
from core.services.applications import Applications
from core.services.callers import Callers
from core.services.connections import Connections
from core.services.escrows import Escrows
from core.services.findings import Findings
from core.services.group_members import GroupMembers
from core.services.groups import Groups
from core.services.idempotency import Idempotency
from core.services.identities import Identities
from core.services.jobs import Jobs, Work
from core.services.keys import Keys
from core.services.locks import GroupLocks, Lock
from core.services.materials import SealedMaterial
from core.services.me import WhoAmI
from core.services.members import Members
from core.services.principals import Principals
from core.services.rewrap import RewrapDataKeys
from core.services.sync_work import SyncWork
from core.services.syncs import Syncs
from core.services.verify_api_key import VerifyApiKey
from core.settings import Settings

__all__ = ["App", "Runtime"]


class Runtime:
    """The app of this process, opened at its first use."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opening = asyncio.Lock()
        self._app: App | None = None

    async def app(self) -> App:
        """Return the app; what is missing in the storage account is created the first time."""
        if self._app is None:
            async with self._opening:
                if self._app is None:
                    self._app = await _open(self._settings)
        return self._app


async def _open(settings: Settings) -> App:
    clock = SystemClock()
    # The app's own identity, storage account and platform vault, which no group's TLS or proxy settings concern.
    session = open_direct_session()
    identity = ManagedIdentityCredential(client_id=settings.identity_client_id, transport=transport(session))
    storage = Storage(settings, identity, session)
    await storage.create_missing()
    sealing_key = open_sealing_key(settings.sealing_key, settings.cloud, identity, session, clock)
    return _wired(settings, clock, storage, sealing_key)


def _wired(settings: Settings, clock: Clock, storage: Storage, sealing_key: VaultSealingKey) -> App:
    index = TreeIndex(TableNodeStore(storage.table("trees")))
    accounts = TableCollection(storage.table("accounts"), Account)
    groups = TableCollection(storage.table("groups"), Group)
    principal_rows = TableCollection(storage.table("principals"), Principal)
    job_rows = TableCollection(storage.table("jobs"), Job)
    key_rows = TableCollection(storage.table("keys"), VirtualKey)
    api_key_rows = TableCollection(storage.table("apikeys"), ApiKey)

    records = BlobDataKeyRecords(ContainerBlobs(storage.container("sealing")))
    data_keys = CachedDataKeys(records, sealing_key, clock)
    sealer = JweSealer(data_keys, accounts, clock)

    identities = Identities(TableCollection(storage.table("identities"), Identity))
    callers = Callers(principal_rows, identities, settings.home_tenant)
    access = Access(callers, clock, home_tenant=settings.home_tenant, first_admin=settings.first_admin)
    principals = Principals(principal_rows, access)
    verify_api_key = VerifyApiKey(api_key_rows, principals, sealer, clock)
    group_members = GroupMembers(access, principals, groups)
    account_service = Accounts(access, accounts, callers)

    findings = Findings(index, clock)
    identity = AppIdentity(settings.identity_client_id, settings.federated_token_file)
    vaults = AzureVaults(clock, identity)
    connections = Connections(sealer, vaults, groups, findings, settings.identities, clock)
    lock_rows = TableCollection(storage.table("locks"), Lock)
    locks = GroupLocks(lock_rows, job_rows)
    escrows = Escrows(ContainerBlobs(storage.container("escrow")), sealer, clock)
    stores = KeyStores(
        groups=groups,
        keys=key_rows,
        source_keys=TableCollection(storage.table("sourcekeys"), SourceKey),
        materials=TableCollection(storage.table("materials"), SealedMaterial),
        intents=TableCollection(storage.table("intents"), Intent),
        exchange_keys=TableCollection(storage.table("exchangekeys"), GroupExchangeKeys),
        names=TableCollection(storage.table("names"), Reservation),
        index=index,
    )
    made = KeyServices(stores, vaults=vaults, connections=connections, sealer=sealer, escrows=escrows, clock=clock)
    sync_work = SyncWork(
        groups,
        index,
        vaults=vaults,
        connections=connections,
        records=made.records,
        escrows=escrows,
        findings=findings,
        locks=locks,
        clock=clock,
    )
    acting = ActionServices(
        index,
        vaults=made.vaults,
        records=made.records,
        source_records=made.source_records,
        sources=made.source_keys,
        exchange_keys=made.exchange_keys,
        escrows=escrows,
        names=made.names,
        clock=clock,
    )
    care = CareServices(
        groups,
        index,
        locks=lock_rows,
        job_rows=job_rows,
        vaults=made.vaults,
        records=made.records,
        opened=acting.opened,
        escrows=escrows,
        findings=findings,
        clock=clock,
    )
    rotating = RotationServices(index, made, acting, clock)
    works: dict[JobKind, Work] = {
        JobKind.SYNC: sync_work,
        JobKind.COPY: made.copy_work,
        JobKind.ACTION: acting.settling,
        JobKind.ROTATE: rotating.work,
        JobKind.DRILL: care.drill_work,
    }
    jobs = Jobs(job_rows, index, WorkQueue(storage.queue(JOB_QUEUE)), clock, works)
    syncs = Syncs(groups, index, jobs, locks, clock)
    rotation_jobs = rotating.jobs(jobs)
    drills = care.drills(jobs)
    return App(
        clock=clock,
        sealer=sealer,
        access=access,
        verify_api_key=verify_api_key,
        idempotency=Idempotency(TableCollection(storage.table("idempotency"), IdempotentRequest), index, sealer, clock),
        create_account=CreateAccount(access, accounts, principals, identities, data_keys, clock),
        accounts=account_service,
        members=Members(access, principals, identities, clock, home_tenant=settings.home_tenant),
        applications=Applications(access, principals, identities, groups, clock),
        api_keys=ApiKeys(access, principals, api_key_rows, index, sealer, verify_api_key, clock),
        group_members=group_members,
        who_am_i=WhoAmI(access, account_service, groups),
        connections=connections,
        groups=Groups(
            groups,
            index,
            connections=connections,
            links=made.links,
            members=group_members,
            syncs=syncs,
            drills=drills,
            clock=clock,
        ),
        syncs=syncs,
        drills=drills,
        scratch_restores=care.scratch_restores,
        drift_reviews=care.drift_reviews,
        vault_rotations=care.vault_rotations,
        expiring_keys=care.expiring_keys(accounts),
        jobs=jobs,
        keys=Keys(key_rows, index, clock),
        source_keys=made.source_keys,
        new_keys=made.new_keys,
        given_keys=made.given_keys,
        copies=made.copies(jobs),
        exports=made.exports,
        transfers=made.transfers,
        exchange_keys=made.exchange_keys,
        placements=made.placements,
        intents=made.intents,
        attributes=acting.attributes,
        source_attributes=acting.source_attributes,
        deletions=acting.deletions,
        restores=acting.restores,
        settling=acting.settling,
        action_jobs=ActionJobs(made.records, jobs),
        reimports=acting.reimports,
        retirements=acting.retirements,
        rotations=rotating.rotations,
        source_rotations=rotating.source_rotations,
        rotation_jobs=rotation_jobs,
        rotation_schedules=rotating.schedules(rotation_jobs),
        escrows=escrows,
        findings=findings,
        rewrap_data_keys=RewrapDataKeys(access, records, sealing_key),
    )
