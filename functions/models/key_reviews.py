"""What people do about a key's drift, on the wire."""

from typing import Annotated

from pydantic import Field

from functions.models.base import RequestModel


class DriftAcknowledgement(RequestModel):
    """That somebody looked at what was changed outside Keysteward, with a word on it if there is one."""

    note: Annotated[str, Field(max_length=500, examples=["Planned change 4711"])] = ""
