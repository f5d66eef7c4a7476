"""Keys that were made elsewhere: into a standard vault, and into a managed HSM."""

import secrets

from azure.keyvault.keys.aio import KeyClient
from cryptography.hazmat.primitives.asymmetric import rsa

from local.demo import own_keys
from local.demo.client import Keysteward
from local.demo.expect import expect
from local.demo.stage import Group, Stage


async def import_into_standard(stage: Stage, alice: Keysteward, group: Group, vault: KeyClient) -> None:
    """Import a PEM file into a standard vault; sign there, verify here."""
    show = stage.show
    show.scene("Standard vault: a key file made outside is imported as a software-protected key")
    key = rsa.generate_private_key(65_537, 3072)
    request = {"name": "receipts", "operations": ["sign", "verify"]}
    made = await alice.upload(f"groups/{group.id}/keys/import", request, own_keys.private_pem(key))
    show.answer((name, made[name]) for name in ("name", "type", "size", "origin", "kid"))
    expect("the imported key", (made["type"], made["size"], made["origin"]), ("RSA", 3072, "imported"))
    shown = await alice.get(f"groups/{group.id}/keys/{made['id']}/public-key")
    expect("its public key", shown["pem"], own_keys.public_pem(key))
    await own_keys.prove_signing(vault, "receipts", key)
    show.say("What the vault signs with it verifies here, with the key from the file.")
    stage.seen.append(("Imported into a standard vault", "RSA 3072 from PEM; signed there, verified here"))


async def import_into_hsm(stage: Stage, alice: Keysteward, group: Group, vault: KeyClient) -> None:
    """Import the octets of an AES key into a managed HSM; encrypt there, decrypt here."""
    show = stage.show
    show.scene("Managed HSM: the 32 octets of an AES key go in as a transfer blob")
    octets = secrets.token_bytes(32)
    request = {"name": "tenant-data", "type": "AES", "size": 256}
    made = await alice.upload(f"groups/{group.id}/keys/import", request, octets)
    show.answer((name, made[name]) for name in ("name", "type", "origin", "kid"))
    show.answer([("operations", ", ".join(made["operations"]))])
    expect("the imported key", (made["type"], made["origin"]), ("oct-HSM", "imported"))
    await own_keys.prove_encryption(vault, "tenant-data", octets)
    show.say("What the HSM encrypts with it decrypts here, with the octets that were sent.")
    stage.seen.append(("Imported into a managed HSM", "AES 256; encrypted there, decrypted here"))
