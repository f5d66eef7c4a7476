"""Tests the connections of groups, saved or not, and opens them for use."""

from dataclasses import replace
from datetime import timedelta

from core.domain.connection_drafts import ConnectionDraft
from core.domain.connections import (
    Connection,
    ConnectionCause,
    ConnectionReport,
    ConnectionStage,
    OpenConnection,
    VaultFacts,
)
from core.domain.groups import Group, GroupKind
from core.domain.identity_use import IdentityOffer
from core.errors import ConflictError
from core.ports import Clock, Collection, Sealer, Vaults
from core.services.access import group_not_found
from core.services.amend import amend
from core.services.connection_secrets import ConnectionSecrets, checked
from core.services.findings import FindingCode, Findings, Subject

_EXPIRY_NOTICE = timedelta(days=30)
_NO_SUCH = "The subscription shows no vault with this resource ID."
_NOTED = (FindingCode.NOT_CONNECTED, FindingCode.CREDENTIAL_EXPIRING, FindingCode.NO_PURGE_PROTECTION)


class Connections:
    """Opens, seals and tests connections."""

    def __init__(
        self,
        sealer: Sealer,
        vaults: Vaults,
        groups: Collection[Group],
        findings: Findings,
        identities: IdentityOffer,
        clock: Clock,
    ) -> None:
        self._secrets = ConnectionSecrets(sealer)
        self._vaults = vaults
        self._groups = groups
        self._findings = findings
        self._identities = identities
        self._clock = clock

    async def seal(self, account: str, group: str, draft: ConnectionDraft, stored: Connection | None) -> Connection:
        """Return the draft as it is stored, with what it keeps of `stored`.

        Raises InvalidRequestError `connection_invalid`, `secret_required`; PolicyViolationError `identity_not_offered`.
        """
        given = checked(draft, stored)
        self._identities.check(account, given.connection)
        return await self._secrets.seal(account, group, given)

    async def open(self, group: Group) -> OpenConnection:
        """Return a group's connection with its secrets.

        Raises ConflictError `group_kind` for a source group; PolicyViolationError `identity_not_offered` where the
        deployment lends the identity no more.
        """
        if group.connection is not None:
            self._identities.check(group.account, group.connection)
        return await self._secrets.open(group)

    async def test_unsaved(self, account: str, draft: ConnectionDraft, vault: str | None = None) -> ConnectionReport:
        """Test a connection that nobody saved; with `vault` (a resource id) its key permissions too.

        Raises InvalidRequestError `connection_invalid`; PolicyViolationError `identity_not_offered`.
        """
        given = checked(draft)
        self._identities.check(account, given.connection)
        return await self._try(given, vault)

    async def test_saved(self, account: str, group: str) -> ConnectionReport:
        """Test a group's connection, and record the outcome with the group and in the findings."""
        stored = await self._groups.get(account, group)
        if stored is None:
            raise group_not_found()
        if stored.value.kind is not GroupKind.AZURE:
            raise ConflictError("A source group has no connection.", code="group_kind")
        report = await self._vaults.test(await self.open(stored.value), stored.value.vault)
        # A connection that was edited meanwhile is not the one that was tested.
        tested = stored.value.connection
        recorded = await amend(
            self._groups,
            account,
            group,
            lambda fresh: reported(fresh, report) if fresh.connection == tested else fresh,
        )
        if recorded is not None and recorded.connection == tested:
            await self.note(recorded)
        return report

    async def test_group(self, group: Group, vault: str | None = None) -> ConnectionReport:
        """Test a group as it is given here: with its vault or, if it has none yet, with `vault` (a resource id)."""
        connection = await self.open(group)
        if group.vault is not None:
            return await self._vaults.test(connection, group.vault)
        return await self._try(connection, vault)

    async def note(self, group: Group) -> None:
        """Raise or clear the findings that follow from the group's latest report."""
        report, about = group.report, Subject(group.id)
        if report is None or group.connection is None:
            return
        raised: dict[tuple[FindingCode, Subject], str] = {}
        if not report.connected:
            raised[FindingCode.NOT_CONNECTED, about] = report.detail
        expires_on = group.connection.credential.expires_on
        if expires_on is not None and expires_on - self._clock.now() <= _EXPIRY_NOTICE:
            raised[FindingCode.CREDENTIAL_EXPIRING, about] = f"The credential ends on {expires_on:%Y-%m-%d}."
        if group.vault is not None and not group.vault.purge_protection:
            raised[FindingCode.NO_PURGE_PROTECTION, about] = "The vault has no purge protection."
        await self._findings.settle(group.account, raised, {(code, about) for code in _NOTED} - raised.keys())

    async def forget(self, group: Group) -> None:
        """Clear every finding about a group that was deleted."""
        await self._findings.settle(group.account, {}, {(code, Subject(group.id)) for code in FindingCode})

    async def _try(self, connection: OpenConnection, vault: str | None) -> ConnectionReport:
        report = await self._vaults.test(connection, None)
        if vault is None or not report.connected:
            return report
        facts = find_vault(report, vault)
        if facts is None:
            return replace(
                report, cause=ConnectionCause.VAULT_NOT_FOUND, stage=ConnectionStage.MANAGEMENT, detail=_NO_SUCH
            )
        return await self._vaults.test(connection, facts)


def find_vault(report: ConnectionReport, resource_id: str | None) -> VaultFacts | None:
    """Return the discovered vault with this resource id; Azure compares them without case."""
    wanted = resource_id.lower() if resource_id else None
    return next((facts for facts in report.vaults if facts.resource_id.lower() == wanted), None)


def reported(group: Group, report: ConnectionReport) -> Group:
    """Return the group with the outcome of a test; of the vaults that it found only the group's own is kept."""
    current = find_vault(report, group.vault.resource_id) if group.vault else None
    return replace(group, report=replace(report, vaults=()), vault=current or group.vault)
