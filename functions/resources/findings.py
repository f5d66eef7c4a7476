"""Findings: what somebody should look at."""

from collections.abc import Mapping

from core.domain.permissions import Permission
from core.services.findings import Finding, FindingFilter, Severity
from core.wiring import App
from functions.models.findings import FindingAnswer, FindingPage, FindingsQuery, SeverityWord
from functions.operations import Answer, Call, Operation
from functions.paging import opened, sealed
from functions.visibility import visible_groups

_WORDS: Mapping[Severity, SeverityWord] = {
    Severity.CRITICAL: "critical",
    Severity.WARNING: "warning",
    Severity.NOTICE: "notice",
}
_SEVERITIES: Mapping[str, Severity] = {word: severity for severity, word in _WORDS.items()}


async def list_findings(app: App, call: Call[None, FindingsQuery]) -> Answer:
    """Answer a page of the findings that the caller sees."""
    query = call.query
    if query.group is not None:
        await app.access.require(call.caller, call.account, Permission.FINDING_READ, query.group)
    visible = visible_groups(call.membership, Permission.FINDING_READ)
    # A cursor is a finding's position, and that finding may be one of a group that the caller does not see.
    list_ = f"findings/{query.group or ''}"
    after = await opened(app.sealer, call.account, list_, query.next)
    wanted = FindingFilter(_SEVERITIES.get(query.severity or ""), query.code, query.group, query.key)
    findings, last = await app.findings.page(call.account, wanted, visible=visible, after=after, limit=query.limit)
    following = await sealed(app.sealer, call.account, list_, last)
    return Answer(FindingPage(items=tuple(map(_shown, findings)), next=following))


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
        errors=("group_not_found", "not_permitted"),
    ),
)
