"""The rules that tie the exportable attribute to a release policy."""

from local.emulator.keyvault.errors import KeyVaultError, bad_parameter
from local.emulator.keyvault.kinds import is_hsm
from local.emulator.keyvault.model import KeyVersion
from local.emulator.keyvault.params import KeySettings
from local.emulator.world import Vault


def check_release_policy(vault: Vault, settings: KeySettings) -> None:
    """Raise unless a key to be made is exportable exactly when it has a release policy."""
    if settings.exportable and settings.release_policy is None:
        raise _refused(vault, "AKV.SKR.1004", "Exportable keys must have release policy")
    if not settings.exportable and settings.release_policy is not None:
        raise _refused(vault, "AKV.SKR.1005", "Non-exportable keys must not have release policy")


def check_release_policy_change(vault: Vault, version: KeyVersion, settings: KeySettings) -> None:
    """Raise unless an update leaves `exportable` alone, and the policy too when it is immutable."""
    if settings.exportable is not None and settings.exportable != version.exportable:
        raise bad_parameter("The exportable attribute of a key cannot be changed.")
    if settings.release_policy is None:
        return
    if version.release_policy is not None and version.release_policy.immutable:
        raise _refused(vault, "AKV.SKR.1020", "Immutable Key Release Policy cannot be modified")
    if not version.exportable:
        raise _refused(vault, "AKV.SKR.1005", "Non-exportable keys must not have release policy")


def _refused(vault: Vault, code: str, text: str) -> KeyVaultError:
    return bad_parameter(text if is_hsm(vault) else f"{code}: {text}.")
