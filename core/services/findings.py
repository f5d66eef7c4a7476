"""Findings: what somebody should look at, one list an account, worst first, raised and cleared by those who know."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from core.domain.identifiers import IdKind, derived_id
from core.ports import Clock, OrderedIndex


class Severity(StrEnum):
    """How bad it is; the values sort worst first."""

    CRITICAL = "1-critical"
    WARNING = "2-warning"
    NOTICE = "3-notice"


class FindingCode(StrEnum):
    """What can be found; docs/findings.md tells what to do about each."""

    ESCROW_FAILED = "escrow_failed"
    DELETED_WITHOUT_ESCROW = "deleted_without_escrow"
    MATERIAL_DRIFT = "material_drift"
    SYNC_FAILED = "sync_failed"
    NOT_CONNECTED = "not_connected"
    CREDENTIAL_EXPIRING = "credential_expiring"
    NO_PURGE_PROTECTION = "no_purge_protection"


SEVERITIES: Mapping[FindingCode, Severity] = {
    FindingCode.ESCROW_FAILED: Severity.CRITICAL,
    FindingCode.DELETED_WITHOUT_ESCROW: Severity.CRITICAL,
    FindingCode.MATERIAL_DRIFT: Severity.CRITICAL,
    FindingCode.SYNC_FAILED: Severity.WARNING,
    FindingCode.NOT_CONNECTED: Severity.WARNING,
    FindingCode.CREDENTIAL_EXPIRING: Severity.WARNING,
    FindingCode.NO_PURGE_PROTECTION: Severity.NOTICE,
}

ADVICE: Mapping[FindingCode, str] = {
    FindingCode.ESCROW_FAILED: "Read why the vault refused the backup; a key with more than 500 versions cannot be "
    "backed up: make a new key. Then run a full sync.",
    FindingCode.DELETED_WITHOUT_ESCROW: "Recover the key in the vault before it is purged, then sync.",
    FindingCode.MATERIAL_DRIFT: "Find out who made the copy's current version, and rotate the copy back to its source "
    "key's material.",
    FindingCode.SYNC_FAILED: "Read the job's errors, mend their cause, and sync again.",
    FindingCode.NOT_CONNECTED: "Test the connection: it names the cause.",
    FindingCode.CREDENTIAL_EXPIRING: "Set a new credential, or use an identity that needs no secret.",
    FindingCode.NO_PURGE_PROTECTION: "Turn purge protection on in Azure, or accept that a purge is final at once.",
}


@dataclass(frozen=True, slots=True)
class Subject:
    """What a finding is about: a group, and one key of it or none."""

    group: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding; the same code about the same subject is the same finding."""

    id: str
    code: FindingCode
    severity: Severity
    group: str
    key: str | None
    detail: str
    advice: str
    observed_on: datetime


class Findings:
    """Raises, clears and lists findings. Raising again only renews the detail and the time."""

    def __init__(self, index: OrderedIndex, clock: Clock) -> None:
        self._index = index
        self._clock = clock

    async def settle(
        self,
        account: str,
        raised: Mapping[tuple[FindingCode, Subject], str],
        cleared: Iterable[tuple[FindingCode, Subject]] = (),
    ) -> None:
        """Raise and clear findings in one go; `raised` maps to the detail."""
        now = self._clock.now().isoformat()
        changes: dict[str, Mapping[str, object] | None] = {_position(code, about): None for code, about in cleared}
        for (code, about), detail in raised.items():
            changes[_position(code, about)] = {
                "code": code.value, "group": about.group, "key": about.key, "detail": detail, "observed_on": now,
            }  # fmt: skip
        if changes:
            await self._index.apply(_tree(account), changes)

    async def page(
        self, account: str, *, group: str | None, after: str | None, limit: int
    ) -> tuple[list[Finding], str | None]:
        """Return a page of findings, worst first; with a filter a page may be short and yet not the last."""
        page = await self._index.page(_tree(account), after=after, limit=limit)
        found = [_finding(position, entry) for position, entry in page.entries]
        return [finding for finding in found if group in {None, finding.group}], page.next


def _tree(account: str) -> str:
    return f"findings/{account}"


def _position(code: FindingCode, about: Subject) -> str:
    return f"{SEVERITIES[code].value}/{about.group}/{code.value}/{about.key}"


def _finding(position: str, entry: Mapping[str, object]) -> Finding:
    code = FindingCode(str(entry["code"]))
    return Finding(
        id=derived_id(IdKind.FINDING, position),
        code=code,
        severity=SEVERITIES[code],
        group=str(entry["group"]),
        key=str(entry["key"]) or None,
        detail=str(entry["detail"]),
        advice=ADVICE[code],
        observed_on=datetime.fromisoformat(str(entry["observed_on"])),
    )
