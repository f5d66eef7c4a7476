"""Adding a version to a name."""

from local.emulator.keyvault.errors import bad_parameter
from local.emulator.keyvault.kinds import is_hsm
from local.emulator.keyvault.model import Key, KeyVersion
from local.emulator.keyvault.names import fold
from local.emulator.keyvault.schedules import schedule_rotation
from local.emulator.keyvault.store import VaultStore
from local.emulator.world import Vault

_MAX_HSM_VERSIONS = 100


def add_version(vault: Vault, store: VaultStore, name: str, version: KeyVersion) -> Key:
    """Add `version` to the live key of this name, making the key if there is none.

    Raises:
        KeyVaultError: a Managed HSM's key has all the versions that it can have.

    """
    key = store.keys.get(fold(name))
    if key is None:
        key = Key(name, {version.id: version})
        store.add(key)
    elif not has_room(vault, key):
        raise bad_parameter(f"The key already has {_MAX_HSM_VERSIONS} versions, the most that a key can have.")
    else:
        key.versions[version.id] = version
    schedule_rotation(store, key)
    return key


def has_room(vault: Vault, key: Key) -> bool:
    """Say whether `key` may have one more version; a vault sets no limit."""
    return not is_hsm(vault) or len(key.versions) < _MAX_HSM_VERSIONS
