"""Findings: what somebody should look at, one list an account, worst first, raised and cleared by those who know.

Invariant: a page reads a bounded number of entries. A filter that few findings pass gives short pages with a `next`
rather than a long wait.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping
from collections.abc import Collection as Container
from contextlib import aclosing
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
    ESCROW_BROKEN = "escrow_broken"
    NOT_ESCROWED = "not_escrowed"
    ESCROW_STALE = "escrow_stale"
    SCRATCH_COPY_LEFT = "scratch_copy_left"
    DRILL_FAILED = "drill_failed"
    NATIVE_ROTATION = "native_rotation"
    KEY_EXPIRED = "key_expired"
    KEY_EXPIRING = "key_expiring"
    ROTATION_FAILED = "rotation_failed"
    ACTION_UNFINISHED = "action_unfinished"
    NEW_KEY_UNFINISHED = "new_key_unfinished"
    EXCHANGE_KEY_NOT_RETIRED = "exchange_key_not_retired"
    SYNC_FAILED = "sync_failed"
    NOT_CONNECTED = "not_connected"
    CREDENTIAL_EXPIRING = "credential_expiring"
    NO_PURGE_PROTECTION = "no_purge_protection"
    DRIFT = "drift"


SEVERITIES: Mapping[FindingCode, Severity] = {
    FindingCode.ESCROW_FAILED: Severity.CRITICAL,
    FindingCode.DELETED_WITHOUT_ESCROW: Severity.CRITICAL,
    FindingCode.MATERIAL_DRIFT: Severity.CRITICAL,
    FindingCode.ESCROW_BROKEN: Severity.CRITICAL,
    FindingCode.NOT_ESCROWED: Severity.CRITICAL,
    FindingCode.ESCROW_STALE: Severity.WARNING,
    FindingCode.SCRATCH_COPY_LEFT: Severity.WARNING,
    FindingCode.DRILL_FAILED: Severity.WARNING,
    FindingCode.NATIVE_ROTATION: Severity.WARNING,
    FindingCode.KEY_EXPIRED: Severity.WARNING,
    FindingCode.KEY_EXPIRING: Severity.WARNING,
    FindingCode.ROTATION_FAILED: Severity.WARNING,
    FindingCode.ACTION_UNFINISHED: Severity.WARNING,
    FindingCode.NEW_KEY_UNFINISHED: Severity.WARNING,
    FindingCode.EXCHANGE_KEY_NOT_RETIRED: Severity.WARNING,
    FindingCode.SYNC_FAILED: Severity.WARNING,
    FindingCode.NOT_CONNECTED: Severity.WARNING,
    FindingCode.CREDENTIAL_EXPIRING: Severity.WARNING,
    FindingCode.NO_PURGE_PROTECTION: Severity.NOTICE,
    FindingCode.DRIFT: Severity.NOTICE,
}

ADVICE: Mapping[FindingCode, str] = {
    FindingCode.ESCROW_FAILED: "Read why the vault refused the backup (escrow_problem). Grant the permission that is "
    "missing and sync; a key with more than 500 versions cannot be backed up: make a new key, and run a full sync.",
    FindingCode.DELETED_WITHOUT_ESCROW: "Recover the key in the vault before it is purged, then sync.",
    FindingCode.MATERIAL_DRIFT: "Find out who made the copy's current version, and rotate the copy back to its source "
    "key's material.",
    FindingCode.ESCROW_BROKEN: "Sync: a live key is escrowed anew. Of a deleted one, restore an older generation, and "
    "find out what happened to the storage.",
    FindingCode.NOT_ESCROWED: "Sync, and read the job's errors: the vault may be away, or the group's identity may not "
    "read the key.",
    FindingCode.ESCROW_STALE: "Sync, and read the job's errors: the escrow lacks the key's newest versions.",
    FindingCode.SCRATCH_COPY_LEFT: "Let the scratch group's identity delete and purge; Keysteward keeps trying. Or "
    "purge the copy in the vault by hand.",
    FindingCode.DRILL_FAILED: "Read the job's errors, mend their cause, and drill again.",
    FindingCode.NATIVE_ROTATION: "Switch the vault's own rotation off (POST .../vault-rotation/disable), and let "
    "Keysteward rotate the key.",
    FindingCode.KEY_EXPIRED: "Rotate the key, move its deactivation date, or disable or delete it if nobody needs it.",
    FindingCode.KEY_EXPIRING: "Rotate the key, or move its deactivation date.",
    FindingCode.ROTATION_FAILED: "Mend the cause, and rotate the key, or its source key with its copies.",
    FindingCode.ACTION_UNFINISHED: "Test the group's connection: what became of the action is looked at once the vault "
    "answers.",
    FindingCode.NEW_KEY_UNFINISHED: "Test the group's connection: what became of the new key is looked at once the "
    "vault answers.",
    FindingCode.EXCHANGE_KEY_NOT_RETIRED: "Let the group's identity update keys; Keysteward keeps trying. Or disable "
    "the key exchange key in the vault.",
    FindingCode.SYNC_FAILED: "Read the job's errors, mend their cause, and sync again.",
    FindingCode.NOT_CONNECTED: "Test the connection: it names the cause.",
    FindingCode.CREDENTIAL_EXPIRING: "Set a new credential, or use an identity that needs no secret.",
    FindingCode.NO_PURGE_PROTECTION: "Turn purge protection on in Azure, or accept that a purge is final at once.",
    FindingCode.DRIFT: "Read what changed, and find out who changed it; then acknowledge it (POST "
    ".../drift/acknowledge).",
}

#: Entries that one page may look at before it returns what it has.
_SCANNED = 2_000
_CHUNK = 200
_BEHIND = "\U0010ffff"


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


@dataclass(frozen=True, slots=True)
class FindingFilter:
    """What a finding must be to be listed; None asks nothing."""

    severity: Severity | None = None
    code: FindingCode | None = None
    group: str | None = None
    key: str | None = None

    def admits(self, entry: Mapping[str, object]) -> bool:
        """Whether an entry passes."""
        return all(
            (
                self.code in {None, entry["code"]},
                self.group in {None, entry["group"]},
                self.key in {None, entry["key"]},
            )
        )


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
        self,
        account: str,
        wanted: FindingFilter,
        *,
        visible: Container[str] | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> tuple[list[Finding], str | None]:
        """Return a page of the findings that pass `wanted` and lie in `visible` groups (None: all), worst first.

        `after` and what is returned with the page are positions, which may name what a caller does not see.
        """
        found: list[Finding] = []
        scanned, last = 0, ""
        async with aclosing(self._entries(account, wanted, after)) as entries:
            async for position, entry in entries:
                scanned += 1
                if wanted.admits(entry) and (visible is None or entry["group"] in visible):
                    if len(found) == limit:
                        return found, last
                    found.append(_finding(position, entry))
                    last = position
                if scanned == _SCANNED:
                    return found, position
        return found, None

    async def _entries(
        self, account: str, wanted: FindingFilter, after: str | None
    ) -> AsyncGenerator[tuple[str, Mapping[str, object]]]:
        for low, high in _stretches(wanted):
            start: str | None = max(low, f"{after}\0") if after else low
            while start is not None and start < high:
                page = await self._index.page(_tree(account), start=start, limit=_CHUNK)
                for position, entry in page.entries:
                    if position >= high:
                        break
                    yield position, entry
                start = f"{page.entries[-1][0]}\0" if page.next is not None else None

    async def of_codes(
        self, account: str, codes: frozenset[FindingCode]
    ) -> AsyncIterator[tuple[tuple[FindingCode, Subject], str]]:
        """Yield what there is of some codes, with its detail; the cost is that of all findings as bad as these."""
        for severity in sorted({SEVERITIES[code] for code in codes}):
            async for _, entry in self._entries(account, FindingFilter(severity=severity), None):
                code = FindingCode(str(entry["code"]))
                if code in codes:
                    yield (code, Subject(str(entry["group"]), str(entry["key"]))), str(entry["detail"])


def _tree(account: str) -> str:
    return f"findings/{account}"


def _position(code: FindingCode, about: Subject) -> str:
    return f"{SEVERITIES[code].value}/{about.group}/{code.value}/{about.key}"


def _stretches(wanted: FindingFilter) -> Iterator[tuple[str, str]]:
    """The parts of a tree that can hold wanted findings, in order: positions in [low, high)."""
    severities = {SEVERITIES[wanted.code]} if wanted.code else set(Severity)
    below = "/".join((*filter(None, (wanted.group, wanted.code if wanted.group else None)), ""))
    for severity in sorted(severities & ({wanted.severity} if wanted.severity else set(Severity))):
        low = f"{severity.value}/{below}"
        yield low, low + _BEHIND


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
