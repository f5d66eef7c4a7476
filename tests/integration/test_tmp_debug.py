from tests.integration.estate import Estate
from tests.integration.material import *
from azure.keyvault.keys.crypto import EncryptionAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import *

async def test_x(estate: Estate) -> None:
    vault, group = await estate.vault_group("managed_hsm")
    key = a_key(estate.site.ledger, "AES 256")
    shown = await estate.api.post(f"groups/{group}/keys/import", {"azure_name": "k", "type": "AES", "material": {"value": base64_of(key.content)}})
    print(shown["versions"])
    async with estate.azure.owner(vault) as owner:
        c = owner.get_cryptography_client("k")
        held = await owner.get_key("k")
        print(held.key_type, held.key.k, held.key_operations)
        r = await c.encrypt(EncryptionAlgorithm.a256_gcm, b"hello")
        try:
            print(AESGCM(key.content).decrypt(r.iv, r.ciphertext + r.tag, None))
        except Exception as e: print("GCM", repr(e))
        w = (await c.wrap_key(KeyWrapAlgorithm.aes_256, b"x"*32)).encrypted_key
        print(len(w), w.hex())
        print(aes_key_wrap(key.content, b"x"*32).hex())
    assert 0
