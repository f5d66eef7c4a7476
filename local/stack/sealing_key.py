"""Makes the sealing key in the platform vault, as a deployment does, with the identity that its environment names.

    python -m local.stack.sealing_key https://localhost:1234/keys/keysteward-sealing

An existing key is left alone.
"""

import asyncio
import sys

from azure.core.exceptions import ResourceNotFoundError
from azure.identity.aio import ManagedIdentityCredential
from azure.keyvault.keys import KeyOperation, KeyVaultKeyIdentifier
from azure.keyvault.keys.aio import KeyClient

_KEY_SIZE = 3072


async def ensure_sealing_key(key_id: str) -> None:
    """Make the key with this id (without a version), if it is not there."""
    # The SDK wants a version in an identifier, which a key that does not exist has not.
    wanted = KeyVaultKeyIdentifier(f"{key_id}/none")
    async with (
        ManagedIdentityCredential() as credential,
        KeyClient(wanted.vault_url, credential, verify_challenge_resource=False) as client,
    ):
        try:
            await client.get_key(wanted.name)
        except ResourceNotFoundError:
            operations: list[str | KeyOperation] = [KeyOperation.wrap_key, KeyOperation.unwrap_key]
            await client.create_rsa_key(wanted.name, size=_KEY_SIZE, hardware_protected=True, key_operations=operations)


if __name__ == "__main__":
    asyncio.run(ensure_sealing_key(sys.argv[1]))
