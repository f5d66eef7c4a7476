"""Escrow drills on the wire: a group's settings, a drill that is asked for, and how the last one went."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated

from pydantic import ConfigDict, Field

from core.domain.drills import DrillOrder, DrillSettings
from functions.models.accounts import GroupId
from functions.models.base import AnswerModel, RequestModel

_DRILL = DrillSettings()
Sample = Annotated[int | None, Field(description="How many keys a drill looks at; null for all.")]
Into = Annotated[
    GroupId | None, Field(description="A scratch group, into whose vault keys are restored for proof; null for none.")
]
Restores = Annotated[int, Field(description="How many keys are restored for proof.")]


class DrillModel(RequestModel):
    """When a group's escrow is drilled by itself, and how. In a change, what is left out stays."""

    every_days: int = _DRILL.every_days
    sample: Sample = _DRILL.sample
    restore_into: Into = _DRILL.restore_into
    restores: Restores = _DRILL.restores
    paused: bool = _DRILL.paused

    def applied_to(self, present: DrillSettings) -> DrillSettings:
        """Return `present` with what is given."""
        return replace(present, **self.model_dump(exclude_unset=True))


class DrillRequest(RequestModel):
    """One drill. What is left out is as the group's settings say."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"sample": 100, "restore_into": None}]})

    sample: Sample = None
    restore_into: Into = None
    restores: Restores = 1

    def order(self, settings: DrillSettings) -> DrillOrder:
        """Return it for the services."""
        usual = DrillOrder(settings.sample, settings.restore_into, settings.restores)
        return replace(usual, **self.model_dump(exclude_unset=True))


class DrillAnswer(AnswerModel):
    """When a group's escrow is drilled by itself, and how."""

    every_days: int
    sample: int | None
    restore_into: str | None
    restores: int
    paused: bool


class LastDrillAnswer(AnswerModel):
    """The latest ended drill: how many keys' escrow opened and was whole, came back, is broken, or is not there."""

    job: str
    status: str
    ended_on: datetime
    opened: int
    verified: int
    restored: int
    failed: int
    missing: int
