"""Connections of groups: sealed when they are written, opened when they are used, and tested.

Invariants: a secret is stored sealed and bound to its account, group and field; readers see a hint of it at most; a
secret that an edit does not mention stays as it is, and only while the kind of credential, or the proxy's user, does.
"""

from dataclasses import replace
from datetime import timedelta

from core.domain import sealing
from core.domain.connection_drafts import (
    KEEP,
    ConnectionDraft,
    CredentialDraft,
    ProxyDraft,
    TlsDraft,
    check_connection,
    needs_secret,
    refused,
)
from core.domain.connections import (
    Connection,
    ConnectionReport,
    Credential,
    CredentialKind,
    OpenConnection,
    Proxy,
    TlsSettings,
    VaultFacts,
)
from core.domain.groups import Group, GroupKind
from core.domain.secrets import SecretText
from core.errors import ConflictError
from core.ports import Binding, Clock, Collection, Sealer, Vaults
from core.services.access import group_not_found
from core.services.amend import amend
from core.services.certificates import CertificateFacts, check_authorities, read_identity
from core.services.findings import FindingCode, Findings, Subject

_HINT = 4
_SHORTEST_HINTED = 16
_EXPIRY_NOTICE = timedelta(days=30)
_PURPOSES = {
    CredentialKind.CLIENT_SECRET: sealing.CLIENT_SECRET,
    CredentialKind.CLIENT_CERTIFICATE: sealing.CLIENT_CERTIFICATE,
}


class Connections:
    """Seals, opens and tests connections."""

    def __init__(
        self, sealer: Sealer, vaults: Vaults, groups: Collection[Group], findings: Findings, clock: Clock
    ) -> None:
        self._sealer = sealer
        self._vaults = vaults
        self._groups = groups
        self._findings = findings
        self._clock = clock

    async def seal(self, account: str, group: str, draft: ConnectionDraft, stored: Connection | None) -> Connection:
        """Return the draft as it is stored, with what it keeps of `stored`; InvalidRequestError `connection_invalid`."""
        check_connection(draft)
        return Connection(
            cloud=draft.cloud,
            credential=await self._credential(account, group, draft.credential, stored.credential if stored else None),
            subscription_id=draft.subscription_id.lower(),
            tls=await self._tls(account, group, draft.tls, stored.tls if stored else None),
            proxy=await self._proxy(account, group, draft.proxy, stored.proxy if stored else None),
        )

    async def open(self, group: Group) -> OpenConnection:
        """Return a group's connection with its secrets; ConflictError `group_kind` for a source group."""
        if group.connection is None:
            raise ConflictError("A source group has no connection.", code="group_kind")
        connection = group.connection
        credential, proxy = connection.credential, connection.proxy
        purpose = _PURPOSES.get(credential.kind)
        certificate = connection.tls.sealed_client_certificate
        password = proxy.sealed_password if proxy else None
        return OpenConnection(
            connection,
            credential_secret=await self._opened(group, purpose, credential.sealed),
            client_certificate=await self._opened(group, sealing.TLS_CLIENT_CERTIFICATE, certificate),
            proxy_password=await self._opened(group, sealing.PROXY_PASSWORD, password),
        )

    async def test_unsaved(self, draft: ConnectionDraft, vault: str | None = None) -> ConnectionReport:
        """Test a connection that nobody saved; with `vault` (a resource id) its key permissions too."""
        check_connection(draft)
        return await self.try_out(_in_the_open(draft), vault)

    async def test_saved(self, account: str, group: str) -> ConnectionReport:
        """Test a group's connection, and record the outcome with the group and in the findings."""
        stored = await self._groups.get(account, group)
        if stored is None:
            raise group_not_found()
        if stored.value.kind is not GroupKind.AZURE:
            raise ConflictError("A source group has no connection.", code="group_kind")
        report = await self._vaults.test(await self.open(stored.value), stored.value.vault)
        # A connection that was edited meanwhile is not what was tested.
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

    async def try_out(self, connection: OpenConnection, vault: str | None = None) -> ConnectionReport:
        """Test an opened connection; with `vault` (a resource id) that vault too, if it is found."""
        report = await self._vaults.test(connection, None)
        facts = find_vault(report, vault)
        return await self._vaults.test(connection, facts) if facts else report

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
            raised[FindingCode.CREDENTIAL_EXPIRING, about] = f"The credential's end is {expires_on:%Y-%m-%d}."
        if group.vault is not None and not group.vault.purge_protection:
            raised[FindingCode.NO_PURGE_PROTECTION, about] = "The vault has no purge protection."
        codes = (FindingCode.NOT_CONNECTED, FindingCode.CREDENTIAL_EXPIRING, FindingCode.NO_PURGE_PROTECTION)
        cleared = {(code, about) for code in codes} - raised.keys()
        await self._findings.settle(group.account, raised, cleared)

    async def _credential(
        self, account: str, group: str, draft: CredentialDraft, stored: Credential | None
    ) -> Credential:
        bare = Credential(draft.kind, _lower(draft.tenant_id), _lower(draft.client_id), expires_on=draft.expires_on)
        if not needs_secret(draft.kind):
            return replace(bare, expires_on=None)
        if isinstance(draft.secret, SecretText):
            sealed = await self._sealed(account, group, _PURPOSES[draft.kind], draft.secret)
            return replace(_hinted(bare, draft.secret), sealed=sealed)
        if stored is None or stored.kind is not draft.kind:
            raise refused("This credential needs a secret.", "credential.secret")
        return replace(bare, sealed=stored.sealed, hint=stored.hint, expires_on=draft.expires_on or stored.expires_on)

    async def _tls(self, account: str, group: str, draft: TlsDraft, stored: TlsSettings | None) -> TlsSettings:
        _check_ca(draft)
        bare = TlsSettings(custom_ca=draft.custom_ca, validate_host=draft.validate_host)
        if draft.client_certificate is KEEP:
            return bare if stored is None else _with_client_certificate_of(stored, bare)
        if draft.client_certificate is None:
            return bare
        facts = _client_certificate(draft.client_certificate)
        sealed = await self._sealed(account, group, sealing.TLS_CLIENT_CERTIFICATE, draft.client_certificate)
        return replace(bare, sealed_client_certificate=sealed, client_certificate_thumbprint=facts.thumbprint)

    async def _proxy(self, account: str, group: str, draft: ProxyDraft | None, stored: Proxy | None) -> Proxy | None:
        if draft is None:
            return None
        bare = Proxy(draft.url, draft.username)
        if isinstance(draft.password, SecretText):
            sealed = await self._sealed(account, group, sealing.PROXY_PASSWORD, draft.password)
            return replace(bare, sealed_password=sealed)
        same_user = stored is not None and stored.username == draft.username
        if draft.password is KEEP and stored is not None and same_user:
            return replace(bare, sealed_password=stored.sealed_password)
        return bare

    async def _sealed(self, account: str, group: str, purpose: str, secret: SecretText) -> str:
        return await self._sealer.seal(_binding(account, group, purpose), secret.encode())

    async def _opened(self, group: Group, purpose: str | None, sealed: str | None) -> SecretText | None:
        if purpose is None or sealed is None:
            return None
        return (await self._sealer.open(_binding(group.account, group.id, purpose), sealed)).decode()


def find_vault(report: ConnectionReport, resource_id: str | None) -> VaultFacts | None:
    """Return the discovered vault with this resource id; Azure compares them without case."""
    wanted = resource_id.lower() if resource_id else None
    return next((facts for facts in report.vaults if facts.resource_id.lower() == wanted), None)


def reported(group: Group, report: ConnectionReport) -> Group:
    """Return the group with the outcome of a test; of the vaults that it found only the group's own is kept."""
    current = find_vault(report, group.vault.resource_id) if group.vault else None
    return replace(group, report=replace(report, vaults=()), vault=current or group.vault)


def _binding(account: str, group: str, purpose: str) -> Binding:
    return Binding(account=account, purpose=purpose, object_id=group, version="connection")


def _in_the_open(draft: ConnectionDraft) -> OpenConnection:
    """A draft as a connection whose secrets were never sealed."""
    secret = draft.credential.secret if isinstance(draft.credential.secret, SecretText) else None
    if needs_secret(draft.credential.kind) and secret is None:
        raise refused("This credential needs a secret.", "credential.secret")
    bare = Credential(draft.credential.kind, _lower(draft.credential.tenant_id), _lower(draft.credential.client_id))
    bare = replace(bare, expires_on=draft.credential.expires_on)
    _check_ca(draft.tls)
    certificate = draft.tls.client_certificate if isinstance(draft.tls.client_certificate, SecretText) else None
    if certificate is not None:
        _client_certificate(certificate)
    password = draft.proxy.password if draft.proxy and isinstance(draft.proxy.password, SecretText) else None
    connection = Connection(
        cloud=draft.cloud,
        credential=_hinted(bare, secret) if secret else bare,
        subscription_id=draft.subscription_id.lower(),
        tls=TlsSettings(draft.tls.custom_ca, draft.tls.validate_host),
        proxy=Proxy(draft.proxy.url, draft.proxy.username) if draft.proxy else None,
    )
    return OpenConnection(connection, secret, certificate, password)


def _hinted(bare: Credential, secret: SecretText) -> Credential:
    """The credential with what a reader may see of its secret."""
    if bare.kind is CredentialKind.CLIENT_CERTIFICATE:
        facts = read_identity(secret, "credential.secret", rsa_only=True)
        return replace(bare, hint=facts.thumbprint, expires_on=facts.expires_on)
    text = secret.reveal()
    return replace(bare, hint=text[-_HINT:] if len(text) >= _SHORTEST_HINTED else None)


def _check_ca(draft: TlsDraft) -> None:
    if draft.custom_ca is not None:
        check_authorities(draft.custom_ca, "tls.custom_ca")


def _client_certificate(pem: SecretText) -> CertificateFacts:
    return read_identity(pem, "tls.client_certificate")


def _with_client_certificate_of(stored: TlsSettings, bare: TlsSettings) -> TlsSettings:
    return replace(
        bare,
        sealed_client_certificate=stored.sealed_client_certificate,
        client_certificate_thumbprint=stored.client_certificate_thumbprint,
    )


def _lower(text: str | None) -> str | None:
    return text.lower() if text else None
