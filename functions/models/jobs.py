"""Jobs and syncs on the wire."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from core.domain.callers import ActorKind
from core.domain.jobs import JobKind, JobStatus, ResultStatus
from functions.models.base import AnswerModel, Page, RequestModel


class SyncRequest(RequestModel):
    """How thorough a sync is to be."""

    mode: Annotated[
        Literal["changes", "full"],
        Field(description="`changes`: what the vault's lists show as changed; `full`: every version of every key."),
    ] = "changes"


class ActorAnswer(AnswerModel):
    """Who or what caused a change."""

    kind: ActorKind
    id: str
    name: str


class JobErrorAnswer(AnswerModel):
    """What went wrong, with one key or (null) with the whole job."""

    code: str
    detail: str
    key: str | None


class ProgressAnswer(AnswerModel):
    """How far a job is. `total` is null until it is known; `rate` is items a second; `errors` shows the latest."""

    phase: str
    done: int
    total: int | None
    rate: float
    counts: dict[str, int]
    errors: tuple[JobErrorAnswer, ...]
    errors_total: int


class TargetResultAnswer(AnswerModel):
    """What became of one target of a job: the key there or, with `code`, why there is none (yet, while pending).

    `version` is the new one of a rotation: Azure's id or, of a source key, its number.
    """

    group: str
    name: str
    status: ResultStatus
    key: str | None
    version: str | None
    code: str | None
    detail: str


class JobAnswer(AnswerModel):
    """A job. `not_before` is when it is tried again; `group` is null where it is about the platform.

    `results` are those of a job with several targets, one each.
    """

    id: str
    kind: JobKind
    group: str | None
    status: JobStatus
    options: dict[str, str]
    progress: ProgressAnswer
    results: tuple[TargetResultAnswer, ...]
    cancel_requested: bool
    attempts: int
    requested_by: ActorAnswer
    requested_on: datetime
    started_on: datetime | None
    ended_on: datetime | None
    not_before: datetime | None
    correlation_id: str


class JobPage(Page[JobAnswer]):
    """Jobs, newest first."""
