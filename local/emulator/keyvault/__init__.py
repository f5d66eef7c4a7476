"""The key data planes of Azure Key Vault and Managed HSM: one web application per vault.

The rest of the emulator uses four functions: `keyvault_app` serves a vault, `dump_vault` and `load_vault`
keep its keys between runs, and `seed_keys` makes many at once.
"""

from local.emulator.keyvault.app import keyvault_app
from local.emulator.keyvault.seed import KeySeed, seed_keys
from local.emulator.keyvault.snapshot import dump_vault, load_vault

__all__ = ["KeySeed", "dump_vault", "keyvault_app", "load_vault", "seed_keys"]
