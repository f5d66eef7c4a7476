"""The part of the composition root that is about looking after keys: drills, findings by the clock, and reviews."""

from core.domain.accounts import Account
from core.domain.groups import Group
from core.domain.jobs import Job, JobKind
from core.ports import Clock, Collection, OrderedIndex
from core.services.drift_reviews import DriftReviews
from core.services.drill_restores import DrillRestores
from core.services.drill_work import DrillWork
from core.services.drills import Drills
from core.services.escrow_checks import EscrowChecks
from core.services.escrows import Escrows
from core.services.expiring_keys import ExpiringKeys
from core.services.findings import Findings
from core.services.group_vaults import GroupVaults
from core.services.jobs import Jobs
from core.services.key_records import KeyRecords
from core.services.locks import GroupLocks, Lock
from core.services.opened_keys import OpenedKeys
from core.services.scratch_copies import ScratchCopies
from core.services.scratch_restores import ScratchRestores
from core.services.vault_rotations import VaultRotations


class CareServices:
    """The services that look after keys, made once; `jobs` come later, because drills are jobs."""

    def __init__(  # noqa: PLR0913 - the collaborators
        self,
        groups: Collection[Group],
        index: OrderedIndex,
        *,
        locks: Collection[Lock],
        job_rows: Collection[Job],
        vaults: GroupVaults,
        records: KeyRecords,
        opened: OpenedKeys,
        escrows: Escrows,
        findings: Findings,
        clock: Clock,
    ) -> None:
        self._groups = groups
        self._index = index
        self._clock = clock
        self._locks = GroupLocks(locks, job_rows, JobKind.DRILL)
        self.drift_reviews = DriftReviews(records, clock)
        self.vault_rotations = VaultRotations(opened, records, findings, clock)
        self.scratch_restores = ScratchRestores(
            ScratchCopies(index, clock), vaults=vaults, locks=GroupLocks(locks, job_rows), findings=findings
        )
        checks = EscrowChecks(records, escrows, findings, clock)
        self.drill_work = DrillWork(
            groups,
            index,
            vaults=vaults,
            checks=checks,
            restores=DrillRestores(records, checks, self.scratch_restores, vaults),
            findings=findings,
            locks=self._locks,
        )
        self._findings = findings

    def drills(self, jobs: Jobs) -> Drills:
        """Return what starts drills."""
        return Drills(self._groups, self._index, jobs, self._locks, self._clock)

    def expiring_keys(self, accounts: Collection[Account]) -> ExpiringKeys:
        """Return what finds keys that expire."""
        return ExpiringKeys(accounts, self._index, self._findings, self._clock)
