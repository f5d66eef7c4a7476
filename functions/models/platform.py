"""The platform's own operations on the wire."""

from typing import Annotated, Literal

from pydantic import Field

from functions.models.base import AnswerModel, RequestModel


class HealthAnswer(AnswerModel):
    """The app answers."""

    status: Literal["ok"] = "ok"


class RotationRequest(RequestModel):
    """Whether to make a new version of the sealing key first, or only to rewrap what is not under the newest one."""

    new_version: Annotated[bool, Field(description="Make a new version of the sealing key.")] = True


class RewrapFailureAnswer(AnswerModel):
    """A data key that is still under an older version of the sealing key, and why."""

    account: str
    data_key: str
    code: str


class RotationAnswer(AnswerModel):
    """What a rotation did: `rewrapped` now, `current` before, and `failed`: run it again for those."""

    sealing_key: str
    rewrapped: int
    current: int
    failed: tuple[RewrapFailureAnswer, ...]
