"""An emulated Azure to connect to: applications, vaults, and connections to them."""

import base64
import datetime as dt
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from core.domain.clouds import Cloud, CloudName
from core.domain.connections import (
    Connection,
    Credential,
    CredentialKind,
    OpenConnection,
    TlsSettings,
    VaultFacts,
    VaultType,
)
from core.domain.secrets import SecretText
from local.emulator.client import ControlClient, Endpoints
from local.emulator.seeds import SUBSCRIPTION_ID
from tests.builders.keys import NOW

_TYPES = {"standard": VaultType.STANDARD, "premium": VaultType.PREMIUM, "Standard_B1": VaultType.MANAGED_HSM}
FULL_CONTROL = {
    "get", "list", "update", "create", "import", "delete", "recover", "backup", "restore", "purge",
}  # fmt: skip


def a_key_pair() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def an_identity(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | None = None,
    *,
    days: int = 365,
    password: bytes | None = None,
) -> tuple[str, x509.Certificate]:
    """A self-signed certificate with its key, in one PEM, key last; and the certificate."""
    key = key or a_key_pair()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "keysteward")])
    begin = dt.datetime.now(dt.UTC).replace(microsecond=0) - dt.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + dt.timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    return (certificate.public_bytes(Encoding.PEM) + private).decode(), certificate


@dataclass
class Application:
    """An application of the emulated Entra."""

    tenant_id: str
    client_id: str
    object_id: str
    secret: str


@dataclass
class AzureWorld:
    """The emulator as a test sees it."""

    endpoints: Endpoints
    control: ControlClient

    @property
    def ca(self) -> str:
        return Path(self.endpoints.ca_file).read_text()

    def cloud(self, *, authority: str | None = None, resource_manager: str | None = None) -> Cloud:
        return Cloud(
            CloudName.CUSTOM,
            authority or self.endpoints.entra_url,
            resource_manager or self.endpoints.arm_url,
            "https://management.azure.com/.default",
            "https://vault.azure.net/.default",
            "https://managedhsm.azure.net/.default",
            verify_challenge_resource=False,
            discover_instance=False,
        )

    async def application(self, **members: Any) -> Application:
        made = await self.control.post("principals", {"display_name": "app", **members})
        return Application(made["tenant_id"], made["client_id"], made["object_id"], made.get("secret", ""))

    async def subscription(self) -> str:
        return str((await self.control.post("subscriptions", {"display_name": "s"}))["id"])

    async def vault(self, application: Application | None = None, **members: Any) -> VaultFacts:
        """A vault; with an application, one that it may do everything with."""
        if application is not None and not members.get("rbac"):
            if members.get("sku") == "managed_hsm":
                roles = ("Managed HSM Crypto User", "Managed HSM Crypto Officer")
                assigned = [{"object_id": application.object_id, "role": role} for role in roles]
                members.setdefault("role_assignments", assigned)
            else:
                policy = {"object_id": application.object_id, "keys": sorted(FULL_CONTROL)}
                members.setdefault("access_policies", [policy])
        made = await self.control.post("vaults", {"name": f"v{uuid.uuid4().hex[:16]}", **members})
        return VaultFacts(
            resource_id=made["resource_id"],
            name=made["name"],
            type=_TYPES[made["sku"]],
            uri=made["uri"].rstrip("/"),
            location=made["location"],
            tenant_id=made["tenant_id"],
            soft_delete_retention_days=made["retention_days"],
            purge_protection=made["purge_protection"],
            rbac=made["rbac"],
            observed_on=NOW,
        )

    async def seed(self, vault: VaultFacts, *seeds: dict[str, Any]) -> None:
        await self.control.post(f"vaults/{vault.name}/keys", {"keys": list(seeds)})

    async def fault(self, **rule: Any) -> None:
        await self.control.post("faults", rule)

    async def requests(self, service: str, vault: str | None = None) -> dict[str, int]:
        """Requests by operation since the counters were cleared."""
        found: dict[str, int] = {}
        for row in (await self.control.get("counters"))["requests"]:
            if row["service"] == service and (vault is None or row["vault"] == vault):
                found[row["operation"]] = found.get(row["operation"], 0) + row["count"]
        return found

    def connection(self, application: Application, **members: Any) -> OpenConnection:
        """A connection of the application by its secret; members of Connection may be others."""
        credential = Credential(CredentialKind.CLIENT_SECRET, application.tenant_id, application.client_id)
        connection = Connection(self.cloud(), credential, SUBSCRIPTION_ID, TlsSettings(custom_ca=self.ca))
        return OpenConnection(replace(connection, **members), SecretText(application.secret))


def der_base64(certificate: x509.Certificate) -> str:
    return base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()
