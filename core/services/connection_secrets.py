"""From a connection as it is given to one as it is stored, and to one that can be used.

Invariants: a secret is stored sealed, bound to its account, group and purpose; readers see a hint of it at most; a
secret that an edit does not mention stays only while its kind of credential, or the proxy's user, stays.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from core.domain import sealing
from core.domain.connection_drafts import (
    KEEP,
    ConnectionDraft,
    CredentialDraft,
    ProxyDraft,
    TlsDraft,
    check_connection,
    check_kept,
    needs_secret,
    refused,
)
from core.domain.connections import Connection, Credential, CredentialKind, OpenConnection, Proxy, TlsSettings
from core.domain.groups import Group
from core.domain.secrets import SecretText
from core.errors import ConflictError
from core.ports import Binding, Sealer
from core.services.certificates import check_authorities, read_identity

_HINT = 4
_SHORTEST_HINTED = 16
_PURPOSES: Mapping[CredentialKind, str] = MappingProxyType(
    {
        CredentialKind.CLIENT_SECRET: sealing.CLIENT_SECRET,
        CredentialKind.CLIENT_CERTIFICATE: sealing.CLIENT_CERTIFICATE,
    }
)


def checked(draft: ConnectionDraft, stored: Connection | None = None) -> OpenConnection:
    """Return what a draft gives, with nothing sealed; what it keeps of `stored` is there in sealed form only.

    Raises InvalidRequestError `connection_invalid`, `secret_required`.
    """
    check_connection(draft)
    if stored is not None:
        check_kept(draft, stored)
    if draft.tls.custom_ca is not None:
        check_authorities(draft.tls.custom_ca, "tls.custom_ca")
    connection = Connection(
        cloud=draft.cloud,
        credential=_credential(draft.credential, stored.credential if stored else None),
        subscription_id=draft.subscription_id.lower(),
        tls=_tls(draft.tls, stored.tls if stored else None),
        proxy=_proxy(draft.proxy, stored.proxy if stored else None),
    )
    return OpenConnection(
        connection,
        credential_secret=_given(draft.credential.secret),
        client_certificate=_given(draft.tls.client_certificate),
        proxy_password=_given(draft.proxy.password if draft.proxy else None),
    )


class ConnectionSecrets:
    """Seals and opens the secrets of groups' connections."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    async def seal(self, account: str, group: str, given: OpenConnection) -> Connection:
        """Return the connection with the secrets that were given sealed in it."""
        connection = given.connection
        if given.credential_secret is not None:
            purpose = _PURPOSES[connection.credential.kind]
            sealed = await self._sealed(account, group, purpose, given.credential_secret)
            connection = replace(connection, credential=replace(connection.credential, sealed=sealed))
        if given.client_certificate is not None:
            sealed = await self._sealed(account, group, sealing.TLS_CLIENT_CERTIFICATE, given.client_certificate)
            connection = replace(connection, tls=replace(connection.tls, sealed_client_certificate=sealed))
        if given.proxy_password is not None and connection.proxy is not None:
            sealed = await self._sealed(account, group, sealing.PROXY_PASSWORD, given.proxy_password)
            connection = replace(connection, proxy=replace(connection.proxy, sealed_password=sealed))
        return connection

    async def open(self, group: Group) -> OpenConnection:
        """Return a group's connection with its secrets; ConflictError `group_kind` for a source group."""
        if group.connection is None:
            raise ConflictError("A source group has no connection.", code="group_kind")
        connection = group.connection
        purpose = _PURPOSES.get(connection.credential.kind)
        certificate = connection.tls.sealed_client_certificate
        password = connection.proxy.sealed_password if connection.proxy else None
        return OpenConnection(
            connection,
            credential_secret=await self._opened(group, purpose, connection.credential.sealed),
            client_certificate=await self._opened(group, sealing.TLS_CLIENT_CERTIFICATE, certificate),
            proxy_password=await self._opened(group, sealing.PROXY_PASSWORD, password),
        )

    async def _sealed(self, account: str, group: str, purpose: str, secret: SecretText) -> str:
        return await self._sealer.seal(_binding(account, group, purpose), secret.encode())

    async def _opened(self, group: Group, purpose: str | None, sealed: str | None) -> SecretText | None:
        if purpose is None or sealed is None:
            return None
        return (await self._sealer.open(_binding(group.account, group.id, purpose), sealed)).decode()


def _credential(draft: CredentialDraft, stored: Credential | None) -> Credential:
    bare = Credential(draft.kind, _lower(draft.tenant_id), _lower(draft.client_id))
    if not needs_secret(draft.kind):
        return bare
    if isinstance(draft.secret, SecretText):
        return _hinted(replace(bare, expires_on=draft.expires_on), draft.secret)
    if stored is None or stored.kind is not draft.kind:
        raise refused("This credential needs a secret.", "credential.secret")
    return replace(bare, sealed=stored.sealed, hint=stored.hint, expires_on=draft.expires_on or stored.expires_on)


def _hinted(bare: Credential, secret: SecretText) -> Credential:
    """The credential with what a reader may see of its secret."""
    if bare.kind is CredentialKind.CLIENT_CERTIFICATE:
        facts = read_identity(secret, "credential.secret", rsa_only=True)
        return replace(bare, hint=facts.thumbprint, expires_on=facts.expires_on)
    text = secret.reveal()
    return replace(bare, hint=text[-_HINT:] if len(text) >= _SHORTEST_HINTED else None)


def _tls(draft: TlsDraft, stored: TlsSettings | None) -> TlsSettings:
    bare = TlsSettings(custom_ca=draft.custom_ca, validate_host=draft.validate_host)
    if isinstance(draft.client_certificate, SecretText):
        facts = read_identity(draft.client_certificate, "tls.client_certificate")
        return replace(bare, client_certificate_thumbprint=facts.thumbprint)
    if draft.client_certificate is None or stored is None:
        return bare
    return replace(
        bare,
        sealed_client_certificate=stored.sealed_client_certificate,
        client_certificate_thumbprint=stored.client_certificate_thumbprint,
    )


def _proxy(draft: ProxyDraft | None, stored: Proxy | None) -> Proxy | None:
    if draft is None:
        return None
    bare = Proxy(draft.url, draft.username)
    if draft.password is KEEP and stored is not None and stored.username == draft.username:
        return replace(bare, sealed_password=stored.sealed_password)
    return bare


def _given(secret: object) -> SecretText | None:
    return secret if isinstance(secret, SecretText) else None


def _binding(account: str, group: str, purpose: str) -> Binding:
    return Binding(account=account, purpose=purpose, object_id=group, version="connection")


def _lower(text: str | None) -> str | None:
    return text.lower() if text else None
