"""What the scenes share: the stack, the screen, the cast and what was seen."""

from dataclasses import dataclass, field

import aiohttp
from azure.identity.aio import ClientSecretCredential
from azure.keyvault.keys.aio import KeyClient

from local.demo.client import Json, Keysteward
from local.demo.seeds import SeededVault
from local.demo.show import Show
from local.emulator import seeds
from local.emulator.client import ControlClient
from local.stack import Stack


@dataclass(frozen=True, slots=True)
class Application:
    """An Entra application: Keysteward's own in the tenant, or that of somebody else."""

    tenant_id: str
    object_id: str
    client_id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Vault:
    """A vault or managed HSM in Azure, with what it was seeded with."""

    seeded: SeededVault
    uri: str
    resource_id: str


@dataclass(frozen=True, slots=True)
class Group:
    """A group of the account and the vault that it is linked to."""

    id: str
    vault: Vault

    @property
    def title(self) -> str:
        """The title that people see."""
        return self.vault.seeded.title


@dataclass(slots=True)
class Stage:
    """One run of the demo; `seen` is what the table at its end says."""

    stack: Stack
    session: aiohttp.ClientSession
    show: Show
    seen: list[tuple[str, str]] = field(default_factory=list)

    @property
    def control(self) -> ControlClient:
        """The emulator's control API."""
        return ControlClient(self.stack.control_url, self.session)

    def caller(self, token: str) -> Keysteward:
        """Return a caller of Keysteward with a token of Entra, or an API key."""
        return Keysteward(self.session, f"{self.stack.host_url}/api/v1", token, self.show.call)

    async def user(self, name: str) -> Keysteward:
        """Sign a user of the tenant in."""
        return self.caller(await self.stack.user_token(name))

    def cloud(self) -> Json:
        """Return the endpoints of this Azure, as of a private cloud."""
        return {
            "authority": self.stack.entra_url,
            "resource_manager": self.stack.arm_url,
            "resource_manager_scope": "https://management.azure.com/.default",
            "key_vault_scope": "https://vault.azure.net/.default",
            "managed_hsm_scope": "https://managedhsm.azure.net/.default",
            "verify_challenge_resource": False,
            "discover_instance": False,
        }

    def connection(self, application: Application, secret: str) -> Json:
        """Return the connection of a group: the application signs in with a client secret."""
        return {
            "cloud": self.cloud(),
            "tenant_id": application.tenant_id,
            "client_id": application.client_id,
            "subscription_id": seeds.SUBSCRIPTION_ID,
            "credential": {"kind": "client_secret", "secret": secret},
        }

    def credential(self, application: Application) -> ClientSecretCredential:
        """Return the official SDK's credential of an application."""
        return ClientSecretCredential(
            application.tenant_id,
            application.client_id,
            application.secret,
            authority=self.stack.entra_url,
            connection_verify=str(self.stack.ca_file),
            disable_instance_discovery=True,
        )

    def key_client(self, vault: Vault, credential: ClientSecretCredential) -> KeyClient:
        """Return the official SDK's client of a vault."""
        verify = str(self.stack.ca_file)
        return KeyClient(vault.uri, credential, connection_verify=verify, verify_challenge_resource=False)
