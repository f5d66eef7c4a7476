"""Connections, vaults and test reports as they are shown: no secret, at most a hint of it."""

from datetime import datetime
from typing import Literal, Self

from core.domain.clouds import CloudName
from core.domain.connections import (
    Connection,
    ConnectionCause,
    ConnectionReport,
    ConnectionStage,
    Credential,
    CredentialKind,
    PermissionState,
    VaultType,
)
from functions.models.base import AnswerModel

_MASK = "********"


class CloudAnswer(AnswerModel):
    """A cloud and its endpoints."""

    name: CloudName
    authority: str
    resource_manager: str
    resource_manager_scope: str
    key_vault_scope: str
    managed_hsm_scope: str
    verify_challenge_resource: bool
    discover_instance: bool


class CredentialAnswer(AnswerModel):
    """A credential without its secret. `hint` is the end of a secret or the thumbprint of a certificate."""

    kind: CredentialKind
    client_id: str | None
    tenant_id: str | None
    secret: str | None
    hint: str | None
    expires_on: datetime | None

    @classmethod
    def shown(cls, credential: Credential) -> Self:
        """Show a credential; a secret is masked."""
        return cls(
            kind=credential.kind,
            client_id=credential.client_id,
            tenant_id=credential.tenant_id,
            secret=_MASK if credential.sealed else None,
            hint=credential.hint,
            expires_on=credential.expires_on,
        )


class TlsAnswer(AnswerModel):
    """TLS settings; of a client certificate only its SHA-256 thumbprint."""

    custom_ca: str | None
    validate_host: bool
    client_certificate_thumbprint: str | None


class ProxyAnswer(AnswerModel):
    """A proxy without its password."""

    url: str
    username: str | None
    password: str | None


class ConnectionAnswer(AnswerModel):
    """A connection without its secrets."""

    cloud: CloudAnswer
    tenant_id: str | None
    client_id: str | None
    subscription_id: str
    credential: CredentialAnswer
    tls: TlsAnswer
    proxy: ProxyAnswer | None

    @classmethod
    def shown(cls, connection: Connection) -> Self:
        """Show a connection."""
        proxy = connection.proxy
        masked = _MASK if proxy and proxy.sealed_password else None
        return cls(
            cloud=CloudAnswer.of(connection.cloud),
            tenant_id=connection.credential.tenant_id,
            client_id=connection.credential.client_id,
            subscription_id=connection.subscription_id,
            credential=CredentialAnswer.shown(connection.credential),
            tls=TlsAnswer.of(connection.tls),
            proxy=ProxyAnswer(url=proxy.url, username=proxy.username, password=masked) if proxy else None,
        )


class VaultAnswer(AnswerModel):
    """A vault or managed HSM as ARM showed it. `rbac` is false where access policies decide."""

    resource_id: str
    name: str
    type: VaultType
    uri: str
    location: str
    tenant_id: str
    soft_delete_retention_days: int
    purge_protection: bool
    rbac: bool
    observed_on: datetime


class ReportAnswer(AnswerModel):
    """What a test of a connection found; `cause` and `stage` are null when it is connected.

    `permissions` is empty where no vault was probed.
    """

    result: Literal["connected", "not_connected"]
    tested_on: datetime
    cause: ConnectionCause | None
    stage: ConnectionStage | None
    detail: str
    vaults: tuple[VaultAnswer, ...]
    permissions: dict[str, PermissionState]
    warnings: tuple[str, ...]

    @classmethod
    def shown(cls, report: ConnectionReport) -> Self:
        """Show a report."""
        return cls(
            result="connected" if report.connected else "not_connected",
            tested_on=report.tested_on,
            cause=report.cause,
            stage=report.stage,
            detail=report.detail,
            vaults=tuple(VaultAnswer.of(vault) for vault in report.vaults),
            permissions=dict(report.permissions),
            warnings=report.warnings,
        )
