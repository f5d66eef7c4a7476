"""How material comes into a vault: wrapped for its HSM, or as a private key where software protects it.

Invariant: material for a key that an HSM protects travels wrapped under a key exchange key of that vault, never in the
clear, not even within TLS.
"""

from core.domain.callers import Actor
from core.domain.groups import Group
from core.domain.new_keys import NewVersion
from core.material.material import KeyMaterial
from core.material.transfer import make_transfer_blob
from core.ports import VaultKeys
from core.services.exchange_keys import ExchangeKeys
from core.services.placements import Send


class MaterialSenders:
    """Prepares what brings material into vaults."""

    def __init__(self, exchange_keys: ExchangeKeys) -> None:
        self._exchange_keys = exchange_keys

    async def prepared(
        self, keys: VaultKeys, group: Group, azure_name: str, new: NewVersion, material: KeyMaterial, actor: Actor
    ) -> Send:
        """Return what sends the one request that imports material as a version, while the material is not wiped.

        A key exchange key that this needs is made first. Raises what ExchangeKeys.current raises.
        """
        if new.type.endswith("-HSM"):
            blob = make_transfer_blob(await self._exchange_keys.current(keys, group, actor), material)
            return lambda vault: vault.import_transfer_blob(azure_name, new, blob)
        return lambda vault: vault.import_key(azure_name, new, material.private_jwk())
