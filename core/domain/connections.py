"""The connection of an Azure group: what it is made of, and what a test of it found."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from core.domain.clouds import Cloud
from core.domain.secrets import SecretText


class CredentialKind(StrEnum):
    """How Keysteward signs in for a group. The last two store no secret."""

    CLIENT_SECRET = "client_secret"  # noqa: S105 - the kind's name
    CLIENT_CERTIFICATE = "client_certificate"
    MANAGED_IDENTITY = "managed_identity"
    WORKLOAD_IDENTITY = "workload_identity"


@dataclass(frozen=True, slots=True)
class Credential:
    """Everything but the secret itself.

    `sealed` holds the client secret, or the client certificate with its key (PEM), as a sealed object.
    `hint` is what a reader may see: the last characters of a secret, or a certificate's SHA-256 thumbprint.
    `client_id` of a managed identity names a user-assigned one; None is the app's own.
    """

    kind: CredentialKind
    tenant_id: str | None = None
    client_id: str | None = None
    sealed: str | None = None
    hint: str | None = None
    expires_on: datetime | None = None


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """How every call of a group (sign-in, management, vault) checks and shows certificates.

    `custom_ca` is PEM and replaces the system's CAs. `validate_host` may be off only beside a custom CA.
    `sealed_client_certificate` is a sealed PEM with certificate and key; `client_certificate_thumbprint` is SHA-256.
    """

    custom_ca: str | None = None
    validate_host: bool = True
    sealed_client_certificate: str | None = None
    client_certificate_thumbprint: str | None = None


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy (CONNECT); `sealed_password` belongs to `username`."""

    url: str
    username: str | None = None
    sealed_password: str | None = None


@dataclass(frozen=True, slots=True)
class Connection:
    """All that is needed to reach a group's subscription and vault, with secrets sealed."""

    cloud: Cloud
    credential: Credential
    subscription_id: str
    tls: TlsSettings = TlsSettings()
    proxy: Proxy | None = None


@dataclass(frozen=True, slots=True)
class OpenConnection:
    """A connection whose secrets have been unsealed, for the adapters alone; never stored."""

    connection: Connection
    credential_secret: SecretText | None = None
    client_certificate: SecretText | None = None
    proxy_password: SecretText | None = None


class ConnectionCause(StrEnum):
    """Why a connection is not connected; the value is the stable code."""

    NAME_NOT_RESOLVED = "name_not_resolved"
    UNREACHABLE = "unreachable"
    TLS_NOT_TRUSTED = "tls_not_trusted"
    TLS_HOST_MISMATCH = "tls_host_mismatch"
    TLS_CERTIFICATE_EXPIRED = "tls_certificate_expired"
    TLS_CLIENT_CERTIFICATE_REFUSED = "tls_client_certificate_refused"
    PROXY_REFUSED = "proxy_refused"
    TENANT_UNKNOWN = "tenant_unknown"
    APPLICATION_UNKNOWN = "application_unknown"
    SECRET_WRONG = "secret_wrong"  # noqa: S105 - a cause's name
    SECRET_EXPIRED = "secret_expired"  # noqa: S105 - a cause's name
    CREDENTIAL_REFUSED = "credential_refused"
    IDENTITY_UNAVAILABLE = "identity_unavailable"
    SUBSCRIPTION_NOT_VISIBLE = "subscription_not_visible"
    NO_VAULT = "no_vault"
    VAULT_NOT_FOUND = "vault_not_found"
    ACCESS_DENIED = "access_denied"
    FIREWALL = "firewall"
    THROTTLED = "throttled"
    SERVICE_FAILED = "service_failed"


class ConnectionStage(StrEnum):
    """Which call failed."""

    SIGN_IN = "sign_in"
    MANAGEMENT = "management"
    VAULT = "vault"


class VaultType(StrEnum):
    """The tiers to choose from."""

    STANDARD = "standard"
    PREMIUM = "premium"
    MANAGED_HSM = "managed_hsm"


@dataclass(frozen=True, slots=True)
class VaultFacts:
    """What ARM says of a vault or managed HSM, as of `observed_on`.

    `uri` has no trailing slash. `rbac` is False where access policies decide. `geography` is the region's, as far
    as the region tells; escrow manifests carry it because a restore must stay in it.
    """

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


class PermissionState(StrEnum):
    """What a harmless probe could tell of one key permission."""

    HELD = "held"
    MISSING = "missing"
    UNKNOWN = "unknown"


#: The ten key permissions that Keysteward needs of a vault, in the order in which they are shown.
KEY_PERMISSIONS = (
    "get", "list", "update", "create", "import", "delete", "recover", "backup", "restore", "purge",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ConnectionReport:
    """The answer of a connection test; `cause` is None exactly when connected.

    `permissions` maps each of KEY_PERMISSIONS to a state, and is empty where no vault was probed.
    """

    tested_on: datetime
    cause: ConnectionCause | None = None
    stage: ConnectionStage | None = None
    detail: str = ""
    vaults: tuple[VaultFacts, ...] = ()
    permissions: tuple[tuple[str, PermissionState], ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def connected(self) -> bool:
        """Whether sign-in, management and, where asked, the vault all answered."""
        return self.cause is None
