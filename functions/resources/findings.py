"""Findings: what somebody should look at."""

from collections.abc import Mapping

from core.domain.permissions import Permission
from core.services.findings import Finding, Severity
from core.wiring import App
from functions.models.findings import FindingAnswer, FindingPage, FindingsQuery, SeverityWord
from functions.operations import Answer, Call, Operation
from functions.paging import encoded
from functions.visibility import visible_groups

_WORDS: Mapping[Severity, SeverityWord] = {
    Severity.CRITICAL: "critical",
    Severity.WARNING: "warning",
    Severity.NOTICE: "notice",
}


async def list_findings(app: App, call: Call[None, FindingsQuery]) -> Answer:
    """Answer a page of the findings that the caller sees."""
    query = call.query
    if query.group is not None:
        await app.access.require(call.caller, call.account, Permission.FINDING_READ, query.group)
    visible = visible_groups(call.membership, Permission.FINDING_READ)
    findings, following = await app.findings.page(call.account, group=query.group, after=query.after, limit=query.limit)
    items = tuple(_shown(finding) for finding in findings if visible is None or finding.group in visible)
    return Answer(FindingPage(items=items, next=encoded(following)))


def _shown(finding: Finding) -> FindingAnswer:
    return FindingAnswer(
        id=finding.id,
        code=finding.code,
        severity=_WORDS[finding.severity],
        group=finding.group,
        key=finding.key,
        detail=finding.detail,
        advice=finding.advice,
        observed_on=finding.observed_on,
    )


OPERATIONS = (
    Operation(
        name="list_findings",
        method="GET",
        route="v1/accounts/{account}/findings",
        summary="List what to look at, worst first, and what to do about it",
        needs=Permission.FINDING_READ,
        handler=list_findings,
        tag="Findings",
        query=FindingsQuery,
        answer=FindingPage,
    ),
)
