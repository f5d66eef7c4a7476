"""Rotation on the wire: what a rotation or re-import is asked for, and schedules."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, NaiveDatetime

from core.domain.keys import Validity
from core.domain.rotation_schedules import KeySchedule, Previous, RotationSchedule, Trigger
from core.errors import InvalidRequestError
from functions.models.base import AnswerModel, Moment, RequestModel
from functions.models.jobs import ActorAnswer
from functions.models.new_keys import KeyId, MaterialModel, SourceModel

_HOURS = 24


def _within_bounds(local: datetime) -> datetime:
    # Bounds that sums with the longest interval keep.
    if not 1970 <= local.year < 9_000:  # noqa: PLR2004
        raise ValueError("The year is out of bounds.")
    return local


_Local = Annotated[NaiveDatetime, AfterValidator(_within_bounds), Field(examples=["2027-01-31T02:00:00"])]
_Size = Annotated[
    Literal[128, 192, 256] | None,
    Field(description="Bits, of a symmetric key in a vault: the vault does not tell."),
]


class PreviousModel(RequestModel):
    """What becomes of the version that is superseded. It is deactivated at once, or after the time of grace."""

    action: Literal["keep", "deactivate"] = "keep"
    grace_days: Annotated[int, Field(ge=0, le=365)] = 0
    grace_hours: Annotated[int, Field(ge=0, le=8_760)] = 0

    def previous(self) -> Previous:
        """Return it for the services; InvalidRequestError `rotation_invalid`."""
        grace = timedelta(days=self.grace_days, hours=self.grace_hours)
        if self.action == "deactivate":
            return Previous(grace)
        if grace:
            detail = "There is a time of grace, and the previous version is kept: say `deactivate`, or leave it out."
            raise InvalidRequestError(detail, code="rotation_invalid", field="previous.action")
        return Previous()


class RotateBody(RequestModel):
    """How to rotate a key. Without dates, the new version lives as long as the one before it.

    A key in a vault: its vault generates the new version; with `source` it gets the material of a source key, with
    `material` that. A copy without either gets the current version of its source key.

    A source key: its new material is generated, or `material`. With `copies`, its copies get it, too.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"previous": {"action": "deactivate", "grace_days": 2}},
                {"copies": "all", "expires_on": "2028-01-01T00:00:00Z"},
            ]
        }
    )

    source: SourceModel | None = None
    material: MaterialModel | None = None
    size: _Size = None
    not_before: Annotated[Moment | None, Field(description="Activation date.")] = None
    expires_on: Annotated[Moment | None, Field(description="Deactivation date.")] = None
    previous: PreviousModel = PreviousModel()
    copies: Annotated[
        Literal["none", "all"] | Annotated[tuple[KeyId, ...], Field(min_length=1, max_length=200)],
        Field(description="Of a source key: which of its copies get the new material."),
    ] = "none"

    def validity(self) -> Validity | None:
        """Return the dates, if any were given."""
        return _validity(self.not_before, self.expires_on)

    def require_none_of(self, *names: str) -> None:
        """Raise InvalidRequestError `field_for_other_kind` where a member was given that other keys have."""
        for name in names:
            if name in self.model_fields_set and getattr(self, name) not in {None, "none"}:
                detail = "This belongs to the rotation of keys of the other kind of group."
                raise InvalidRequestError(detail, code="field_for_other_kind", field=name)

    def require_one_way(self) -> None:
        """Raise InvalidRequestError `rotation_invalid` where material is to come from two places."""
        given = [name for name in ("source", "material", "size") if getattr(self, name) is not None]
        if len(given) > 1:
            detail = "New material is generated (with `size`, if need be), given, or a source key's."
            raise InvalidRequestError(detail, code="rotation_invalid", field=given[1])


class ReimportBody(RequestModel):
    """Which version of its source key a purged copy gets; without dates, those that it had."""

    version: Annotated[int | None, Field(ge=1, le=1_000_000, description="The current one, unless you say.")] = None
    not_before: Annotated[Moment | None, Field(description="Activation date.")] = None
    expires_on: Annotated[Moment | None, Field(description="Deactivation date.")] = None

    def validity(self) -> Validity | None:
        """Return the dates, if any were given."""
        return _validity(self.not_before, self.expires_on)


class ScheduleBody(RequestModel):
    """When to rotate a key: exactly one of `every_days`, `every_months` and `days_before_expiry`.

    `start` is a date and time in `time_zone`: the first run or, before expiry, the earliest moment and the time of day.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "every_months": 3,
                    "start": "2027-01-31T02:00:00",
                    "time_zone": "Europe/Berlin",
                    "previous": {"action": "deactivate", "grace_days": 7},
                    "rotate_copies": True,
                }
            ]
        }
    )

    every_days: Annotated[int | None, Field(ge=1, le=3_650)] = None
    every_months: Annotated[int | None, Field(ge=1, le=120)] = None
    days_before_expiry: Annotated[int | None, Field(ge=1, le=3_650)] = None
    start: _Local
    time_zone: Annotated[str, Field(min_length=1, max_length=64, description="IANA name.")] = "UTC"
    previous: PreviousModel = PreviousModel()
    rotate_copies: Annotated[bool, Field(description="Of a source key: all of its copies, too.")] = False
    paused: bool = False
    size: _Size = None

    def schedule(self) -> RotationSchedule:
        """Return it for the services; InvalidRequestError `rotation_schedule_invalid`, `rotation_invalid`."""
        counts = {trigger: getattr(self, trigger.value) for trigger in Trigger}
        given = {trigger: count for trigger, count in counts.items() if count is not None}
        if len(given) != 1:
            detail = "A schedule has exactly one of `every_days`, `every_months` and `days_before_expiry`."
            field = [Trigger.EVERY_DAYS, *given][-1].value
            raise InvalidRequestError(detail, code="rotation_schedule_invalid", field=field)
        ((trigger, count),) = given.items()
        return RotationSchedule(
            trigger=trigger,
            count=count,
            start=self.start,
            time_zone=self.time_zone,
            previous=self.previous.previous(),
            rotate_copies=self.rotate_copies,
            paused=self.paused,
            size=self.size,
        )


class PreviousAnswer(AnswerModel):
    """What becomes of the version that is superseded."""

    action: Literal["keep", "deactivate"]
    grace_days: int
    grace_hours: int

    @classmethod
    def shown(cls, previous: Previous) -> Self:
        """Show it."""
        grace = previous.grace or timedelta()
        hours = int(grace.total_seconds()) // 3_600
        action: Literal["keep", "deactivate"] = "keep" if previous.grace is None else "deactivate"
        return cls(action=action, grace_days=hours // _HOURS, grace_hours=hours % _HOURS)


class RotationScheduleAnswer(AnswerModel):
    """A schedule, and when it runs next: null while it is paused, or where the key does not expire."""

    every_days: int | None
    every_months: int | None
    days_before_expiry: int | None
    start: Annotated[datetime, Field(description="Without an offset: in `time_zone`.")]
    time_zone: str
    previous: PreviousAnswer
    rotate_copies: bool
    paused: bool
    size: int | None
    next_run_on: datetime | None
    set_by: ActorAnswer
    set_on: datetime

    @classmethod
    def shown(cls, scheduled: KeySchedule) -> Self:
        """Show a key's schedule."""
        schedule = scheduled.schedule
        counts = {trigger.value: schedule.count if trigger is schedule.trigger else None for trigger in Trigger}
        return cls(
            **counts,
            start=schedule.start,
            time_zone=schedule.time_zone,
            previous=PreviousAnswer.shown(schedule.previous),
            rotate_copies=schedule.rotate_copies,
            paused=schedule.paused,
            size=schedule.size,
            next_run_on=scheduled.next_on.astimezone(UTC) if scheduled.next_on else None,
            set_by=ActorAnswer.of(scheduled.set_by),
            set_on=scheduled.set_on,
        )


class RetirementAnswer(AnswerModel):
    """A version that is going to be deactivated: Azure's id or, of a source key, its number."""

    version: str
    on: datetime
    by: ActorAnswer


def _validity(not_before: datetime | None, expires_on: datetime | None) -> Validity | None:
    if not_before is None and expires_on is None:
        return None
    return Validity(True, not_before, expires_on)
