"""Findings on the wire."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from core.services.findings import FindingCode
from functions.models.accounts import GroupId
from functions.models.base import AnswerModel, Page
from functions.paging import PageQuery

SeverityWord = Literal["critical", "warning", "notice"]


class FindingsQuery(PageQuery):
    """Which findings."""

    severity: SeverityWord | None = None
    code: FindingCode | None = None
    group: GroupId | None = None
    key: Annotated[str | None, Field(pattern=r"^key_[a-z2-7]{24}$", description="A key's id.")] = None


class FindingAnswer(AnswerModel):
    """Something to look at, and what to do about it. `key` is null where it is about the whole group."""

    id: str
    code: FindingCode
    severity: SeverityWord
    group: str
    key: str | None
    detail: str
    advice: str
    observed_on: datetime


class FindingPage(Page[FindingAnswer]):
    """Findings, worst first. A page may be short and yet not the last: `next` tells."""
