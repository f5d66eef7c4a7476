"""The part of the composition root that is about the rotation of keys: on request, and by schedules."""

from core.action_wiring import ActionServices
from core.key_wiring import KeyServices
from core.ports import Clock, OrderedIndex
from core.services.findings import Findings
from core.services.jobs import Jobs
from core.services.rotation_jobs import RotationJobs
from core.services.rotation_schedules import RotationSchedules
from core.services.rotation_work import RotationWork
from core.services.rotations import Rotations
from core.services.source_rotations import SourceRotations


class RotationServices:
    """The services that rotate keys, made once; those that start jobs are made with these."""

    def __init__(self, index: OrderedIndex, made: KeyServices, acting: ActionServices, clock: Clock) -> None:
        self._index = index
        self._made = made
        self._clock = clock
        self.rotations = Rotations(acting.opened, acting.making, acting.senders, made.source_keys, clock)
        self.source_rotations = SourceRotations(made.source_keys, acting.retirements, clock)
        self.work = RotationWork(
            self.rotations,
            self.source_rotations,
            sources=made.source_keys,
            records=made.records,
            vaults=made.vaults,
            retirements=acting.retirements,
            findings=Findings(index, clock),
            clock=clock,
        )

    def jobs(self, jobs: Jobs) -> RotationJobs:
        """Return what starts rotation jobs."""
        return RotationJobs(self.source_rotations, jobs, self._clock)

    def schedules(self, jobs: RotationJobs) -> RotationSchedules:
        """Return the schedules, and the jobs that carry them out."""
        return RotationSchedules(
            self._made.vaults,
            self._index,
            jobs,
            records=self._made.records,
            sources=self._made.source_records,
            clock=self._clock,
        )
