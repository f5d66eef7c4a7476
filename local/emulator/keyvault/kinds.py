"""The two services that this package emulates."""

from local.emulator.world import Vault


def is_hsm(vault: Vault) -> bool:
    """Say whether the data plane of `vault` is a Managed HSM's, not a key vault's."""
    return vault.kind == "managed_hsm"
