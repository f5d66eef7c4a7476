"""A part of the emulated Azure that belongs to one test: a subscription, an application and vaults of its own."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from azure.identity.aio import ClientSecretCredential
from azure.keyvault.keys.aio import KeyClient

from local.emulator.client import ControlClient
from local.stack import Stack
from tests.integration.client import Json
from tests.integration.ledger import Ledger

NEEDED = ("get", "list", "backup")
#: What it takes, beside that, to bring keys into a vault.
CHANGING = (*NEEDED, "create", "import", "update")
HSM_ROLES = ("Managed HSM Crypto User", "Managed HSM Crypto Officer")


@dataclass(frozen=True)
class Vault:
    """A vault or managed HSM."""

    name: str
    uri: str
    resource_id: str


class Azure:
    """One test's part of Azure; `application` is whom Keysteward signs in as."""

    def __init__(
        self, stack: Stack, control: ControlClient, ledger: Ledger, subscription: str, application: Json
    ) -> None:
        self.stack = stack
        self.control = control
        self.ledger = ledger
        self.subscription = subscription
        self.application = application

    @classmethod
    async def new(cls, stack: Stack, control: ControlClient, ledger: Ledger) -> "Azure":
        """Make a subscription that everybody sees, and an application without any permission."""
        made = await control.post("subscriptions", {"display_name": "of a test"})
        azure = cls(stack, control, ledger, made["id"], {})
        azure.application = await azure.new_application()
        return azure

    async def new_application(self, **members: object) -> Json:
        """Make an application with a client secret."""
        application: Json = await self.control.post("principals", {"display_name": "connector", **members})
        if application["secret"]:
            self.ledger.add("client secret", application["secret"])
        return application

    async def vault(
        self,
        sku: str = "standard",
        *,
        keys: list[Json] | None = None,
        grant: tuple[str, ...] | None = None,
        **members: Any,
    ) -> Vault:
        """Make a vault on which the application holds `grant` (key permissions, or roles), and its keys."""
        held = grant if grant is not None else HSM_ROLES if sku == "managed_hsm" else NEEDED
        body = {"name": f"v-{uuid.uuid4().hex[:18]}", "sku": sku, "subscription": self.subscription, **members}
        made = await self.control.post("vaults", body)
        vault = Vault(made["name"], made["uri"].rstrip("/"), made["resource_id"])
        if held:
            await self.permit(vault, *held)
        if keys:
            await self.add_keys(vault, *keys)
        return vault

    async def permit(self, vault: Vault, *names: str) -> None:
        """Grant key permissions or roles on a vault."""
        body = {"object_id": self.application["object_id"], "grant": list(names)}
        await self.control.post(f"vaults/{vault.name}/permissions", body)

    async def forbid(self, vault: Vault, *names: str) -> None:
        """Take key permissions or roles on a vault away."""
        body = {"object_id": self.application["object_id"], "revoke": list(names)}
        await self.control.post(f"vaults/{vault.name}/permissions", body)

    async def add_keys(self, vault: Vault, *keys: Json) -> None:
        """Put keys into a vault, past the wire."""
        await self.control.post(f"vaults/{vault.name}/keys", {"keys": list(keys)})

    @property
    def ca(self) -> str:
        """The certificate of the CA that this Azure's servers are known by, in PEM."""
        return self.stack.ca_file.read_text()

    def cloud(self, **changes: object) -> Json:
        """Return the endpoints of this Azure, as those of a private cloud."""
        return {
            "authority": self.stack.entra_url,
            "resource_manager": self.stack.arm_url,
            "resource_manager_scope": "https://management.azure.com/.default",
            "key_vault_scope": "https://vault.azure.net/.default",
            "managed_hsm_scope": "https://managedhsm.azure.net/.default",
            "verify_challenge_resource": False,
            "discover_instance": False,
            **changes,
        }

    def connection(self, **changes: object) -> Json:
        """Return a connection by client secret that works, with some members changed; None leaves one out."""
        whole = {
            "cloud": self.cloud(),
            "tenant_id": self.application["tenant_id"],
            "client_id": self.application["client_id"],
            "subscription_id": self.subscription,
            "credential": {"kind": "client_secret", "secret": self.application["secret"]},
            **changes,
        }
        return {name: value for name, value in whole.items() if value is not None}

    @asynccontextmanager
    async def fault(self, vault: Vault, action: Json, **members: object) -> AsyncIterator[None]:
        """Let requests to a vault meet `action` while the block runs; `members` are those of a fault rule."""
        rule = {"service": "keyvault", "vault": vault.name, "action": action, **members}
        made = await self.control.post("faults", rule)
        try:
            yield
        finally:
            await self.control.delete(f"faults/{made['id']}")

    async def requests(self, vault: Vault, *, status: int | None = None) -> dict[str, int]:
        """Return how many requests a vault has answered, by operation: with `status`, or whatever the status."""
        found: dict[str, int] = {}
        for row in (await self.control.get("counters"))["requests"]:
            if row["vault"] == vault.name and status in {None, row["status"]}:
                found[row["operation"]] = found.get(row["operation"], 0) + row["count"]
        return found

    @asynccontextmanager
    async def owner(self, vault: Vault) -> AsyncIterator[KeyClient]:
        """Open the official SDK's client of somebody who may do everything in the vault."""
        owner = await self.new_application()
        everything = HSM_ROLES if "managedHSMs" in vault.resource_id else ("all",)
        body = {"object_id": owner["object_id"], "grant": list(everything)}
        await self.control.post(f"vaults/{vault.name}/permissions", body)
        verify = str(self.stack.ca_file)
        credential = ClientSecretCredential(
            owner["tenant_id"],
            owner["client_id"],
            owner["secret"],
            authority=self.stack.entra_url,
            connection_verify=verify,
            disable_instance_discovery=True,
        )
        async with (
            credential,
            KeyClient(vault.uri, credential, connection_verify=verify, verify_challenge_resource=False) as client,
        ):
            yield client
