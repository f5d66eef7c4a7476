"""Jobs: work that outlives a request, its progress, and which steps its status allows."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

from core.domain.callers import Actor
from core.domain.copies import CopyOrder
from core.domain.rotations import RotationOrder
from core.errors import ConflictError


class JobKind(StrEnum):
    """What a job does."""

    SYNC = "sync"
    COPY = "copy"
    ACTION = "action"
    DRILL = "drill"
    ROTATE = "rotate"


class JobStatus(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class JobStep(StrEnum):
    """What can happen to a job."""

    START = "start"
    RETRY = "retry"
    SUCCEED = "succeed"
    FAIL = "fail"
    CANCEL = "cancel"


# A pair that is absent is refused.
TRANSITIONS: Mapping[tuple[JobStatus, JobStep], JobStatus] = MappingProxyType(
    {
        (JobStatus.QUEUED, JobStep.START): JobStatus.RUNNING,
        (JobStatus.QUEUED, JobStep.CANCEL): JobStatus.CANCELLED,
        (JobStatus.QUEUED, JobStep.FAIL): JobStatus.FAILED,
        # A worker whose predecessor's lease ran out takes over.
        (JobStatus.RUNNING, JobStep.START): JobStatus.RUNNING,
        (JobStatus.RUNNING, JobStep.RETRY): JobStatus.QUEUED,
        (JobStatus.RUNNING, JobStep.SUCCEED): JobStatus.SUCCEEDED,
        (JobStatus.RUNNING, JobStep.FAIL): JobStatus.FAILED,
        (JobStatus.RUNNING, JobStep.CANCEL): JobStatus.CANCELLED,
    }
)

ENDED = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED})


@dataclass(frozen=True, slots=True)
class JobError:
    """Something that went wrong with one key, or with the whole job where `key` is None."""

    code: str
    detail: str
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """What a reader sees while a job runs. `total` is None until it is known; `rate` is items a second."""

    phase: str = "queued"
    done: int = 0
    total: int | None = None
    rate: float = 0.0
    counts: Mapping[str, int] = field(default_factory=dict)
    errors: tuple[JobError, ...] = ()
    errors_total: int = 0


class ResultStatus(StrEnum):
    """Where one of a job's targets is."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class TargetResult:
    """What became of one target of a job: the key there or, with `code`, why there is none (yet, while pending)."""

    group: str
    name: str
    status: ResultStatus = ResultStatus.PENDING
    key: str | None = None
    version: str | None = None
    code: str | None = None
    detail: str = ""

    @property
    def settled(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status is not ResultStatus.PENDING

    def given_up(self) -> "TargetResult":
        """Return the result when its job ended: what was not done by then failed."""
        if self.settled:
            return self
        return replace(self, status=ResultStatus.FAILED, code="target_not_tried" if self.code is None else self.code)


@dataclass(frozen=True, slots=True)
class Job:
    """A job as recorded. `lease_until` is the time up to which its worker may be believed alive.

    `checkpoint` is private to the kind of job: what it needs to go on where it stopped. `attempts` counts the starts
    since the checkpoint last moved.
    """

    id: str
    account: str
    kind: JobKind
    group: str | None
    requested_by: Actor
    requested_on: datetime
    options: Mapping[str, str] = field(default_factory=dict)
    status: JobStatus = JobStatus.QUEUED
    progress: Progress = Progress()
    attempts: int = 0
    started_on: datetime | None = None
    ended_on: datetime | None = None
    lease_owner: str | None = None
    lease_until: datetime | None = None
    cancel_requested: bool = False
    checkpoint: Mapping[str, str] = field(default_factory=dict)
    not_before: datetime | None = None
    correlation_id: str = ""
    order: CopyOrder | None = None
    rotation: RotationOrder | None = None
    results: tuple[TargetResult, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in ENDED

    def leased_at(self, now: datetime) -> bool:
        """Whether another worker may still be on it."""
        return self.status is JobStatus.RUNNING and self.lease_until is not None and now < self.lease_until

    def stepped(self, step: JobStep, now: datetime) -> "Job":
        """Return the job after `step`, or refuse with `job_transition`."""
        target = TRANSITIONS.get((self.status, step))
        if target is None:
            raise ConflictError(f"A job that is {self.status} cannot {step}.", code="job_transition")
        started = self.started_on or (now if target is JobStatus.RUNNING else None)
        if target not in ENDED:
            return replace(self, status=target, started_on=started, ended_on=None)
        results = tuple(result.given_up() for result in self.results)
        return replace(self, status=target, started_on=started, ended_on=now, results=results)

    def progressed(self, progress: Progress, checkpoint: Mapping[str, str]) -> "Job":
        """Return the job further on; a worker that moved the checkpoint was not started in vain."""
        attempts = self.attempts if checkpoint == self.checkpoint else 1
        return replace(self, progress=progress, checkpoint=checkpoint, attempts=attempts)

    def settled(self, number: int, result: TargetResult) -> "Job":
        """Return the job with the result of one target."""
        results = tuple(result if at == number else kept for at, kept in enumerate(self.results))
        done = sum(1 for each in results if each.settled)
        phase = "rotating" if self.kind is JobKind.ROTATE else "copying"
        moved = self.progressed(replace(self.progress, phase=phase, done=done), {"settled": str(done)})
        return replace(moved, results=results)

    def leased(self, owner: str, now: datetime, lease: timedelta) -> "Job":
        """Return the job held by `owner` for `lease` from `now`."""
        return replace(self, lease_owner=owner, lease_until=now + lease)
