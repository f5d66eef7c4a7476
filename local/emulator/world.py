"""The emulated world: tenants, principals, subscriptions and vaults, in one mutable object graph.

Invariants:
- Everything here is plain data that `persistence` writes as JSON; listeners and sockets live in `server`.
- `Vault.state` belongs to the `keyvault` package; nobody else reads or writes it.
- A vault's URLs follow from its current port and are never stored.
- Names of vaults are unique in the world and compared without case.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from local.emulator.clock import Clock
from local.emulator.faults import STRICT, Counters, Faults
from local.emulator.tokens import TokenAuthority

PrincipalKind = Literal["application", "user", "managed_identity"]
VaultKind = Literal["vault", "managed_hsm"]

EVERYBODY = "*"
"""An entry of `Subscription.readers` that lets every principal of the tenant read."""


@dataclass
class Secret:
    """A client secret; `expires_on` is in seconds since 1970 of token time."""

    id: str
    value: str
    expires_on: float | None = None


@dataclass
class FederatedCredential:
    """Whose assertions stand in for a credential of the application."""

    issuer: str
    subject: str
    audience: str


@dataclass
class Principal:
    """An application, user or managed identity in one tenant.

    `certificates` are base64 DER. A user has no `client_id`: the application that it signs in with lends its own.
    """

    tenant_id: str
    object_id: str
    client_id: str
    display_name: str
    kind: PrincipalKind
    secrets: list[Secret] = field(default_factory=list)
    certificates: list[str] = field(default_factory=list)
    federated: list[FederatedCredential] = field(default_factory=list)
    username: str | None = None
    password: str | None = None


@dataclass
class Tenant:
    """A directory; `api_audiences` are the identifier URIs of the APIs that are registered in it."""

    id: str
    display_name: str
    domain: str
    api_audiences: list[str] = field(default_factory=list)


@dataclass
class AccessPolicy:
    """Key permissions of one principal on one vault: lower-case names such as `get` or `unwrapkey`."""

    tenant_id: str
    object_id: str
    keys: set[str]


@dataclass
class RoleAssignment:
    """A built-in role (name or id) at a scope: subscription, vault resource id, or `/`, `/keys`, `/keys/{name}`."""

    object_id: str
    role: str
    scope: str


@dataclass
class Vault:
    """A key vault or managed HSM. `sku` is standard, premium or Standard_B1; the port is 0 until it is bound."""

    name: str
    kind: VaultKind
    sku: str
    subscription_id: str
    resource_group: str
    tenant_id: str
    location: str
    geography: str
    security_domain: str
    port: int = 0
    retention_days: int = 90
    purge_protection: bool = False
    soft_delete: bool = True
    rbac: bool = False
    access_policies: list[AccessPolicy] = field(default_factory=list)
    role_assignments: list[RoleAssignment] = field(default_factory=list)
    firewall: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    created_on: float = 0.0
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def resource_type(self) -> str:
        """The ARM type, such as `Microsoft.KeyVault/vaults`."""
        return "Microsoft.KeyVault/vaults" if self.kind == "vault" else "Microsoft.KeyVault/managedHSMs"

    @property
    def resource_id(self) -> str:
        """The ARM id."""
        group = f"/subscriptions/{self.subscription_id}/resourceGroups/{self.resource_group}"
        return f"{group}/providers/{self.resource_type}/{self.name}"

    @property
    def base_url(self) -> str:
        """The data plane's URL without a trailing slash; valid while the vault is served."""
        return f"https://localhost:{self.port}"


@dataclass
class DeletedVault:
    """What ARM still tells of a vault that was deleted; it is no longer served."""

    vault: Vault
    deleted_on: float


@dataclass
class Subscription:
    """A subscription; `readers` are the object ids that may read its vaults through ARM."""

    id: str
    tenant_id: str
    display_name: str
    readers: set[str] = field(default_factory=set)


@dataclass
class Throttling:
    """How the vaults throttle: documented limits times `scale`; `retry_after` seconds are sent only when set."""

    __pydantic_config__ = STRICT

    enabled: bool = True
    scale: float = 1.0
    retry_after: int | None = None


@dataclass
class Timings:
    """Seconds of resource time until a key vault shows the effect of an operation; managed HSMs show it at once."""

    __pydantic_config__ = STRICT

    delete: float = 1.0
    recover: float = 1.0
    purge: float = 1.0


class World:
    """All that the emulator knows. Listeners share one world and see every change at once."""

    def __init__(self) -> None:
        self.tenants: dict[str, Tenant] = {}
        self.subscriptions: dict[str, Subscription] = {}
        self.vaults: dict[str, Vault] = {}
        self.deleted_vaults: dict[str, DeletedVault] = {}
        self.principals: dict[str, Principal] = {}
        self.clock = Clock()
        self.tokens = TokenAuthority(self.clock, lambda: self.entra_url)
        self.counters = Counters()
        self.faults = Faults(self.counters)
        self.throttling = Throttling()
        self.timings = Timings()
        self.ports: dict[str, int] = {}
        self.identity_header = ""

    def clear(self) -> None:
        """Forget everything but the ports, the signing keys and the identity endpoint's header."""
        for collection in (self.tenants, self.subscriptions, self.vaults, self.deleted_vaults, self.principals):
            collection.clear()
        self.clock.offset_seconds = self.clock.token_offset_seconds = 0.0
        self.throttling, self.timings = Throttling(), Timings()
        self.faults.clear()
        self.counters.clear()

    @property
    def entra_url(self) -> str:
        """The base URL of the emulated Entra, without a trailing slash."""
        return f"https://localhost:{self.ports.get('entra', 0)}"

    @property
    def arm_url(self) -> str:
        """The base URL of the emulated ARM, without a trailing slash."""
        return f"https://localhost:{self.ports.get('arm', 0)}"

    def find_tenant(self, id_or_domain: str) -> Tenant | None:
        """Return the tenant with this id or domain name."""
        wanted = id_or_domain.lower()
        return next((t for t in self.tenants.values() if wanted in (t.id, t.domain)), None)

    def find_principal(
        self, *, object_id: str | None = None, client_id: str | None = None, username: str | None = None
    ) -> Principal | None:
        """Return the first principal for which every given identifier matches, without case."""
        wanted = {"object_id": object_id, "client_id": client_id, "username": username}
        given = {name: value.lower() for name, value in wanted.items() if value is not None}
        for principal in self.principals.values():
            if given and all((getattr(principal, name) or "").lower() == value for name, value in given.items()):
                return principal
        return None

    def find_vault(self, name: str) -> Vault | None:
        """Return the served vault or HSM of this name."""
        return self.vaults.get(name.lower())
