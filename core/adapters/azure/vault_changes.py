"""What changes the keys of one vault: the second half of `ports.VaultKeys`.

What makes versions (create, import, rotate) is sent once. Everything else is repeated where its answer was lost; if the
first try was done, the second may find its work done: a deletion answers 404 or that the key is being deleted, a
recovery and a purge 404, a restore that the name is taken. Those are errors here too; whoever asked knows what they
mean.
"""

from collections import OrderedDict

from core.adapters.azure import key_answers, key_requests
from core.adapters.azure.key_requests import VaultRequest
from core.adapters.azure.vault_requests import VaultRequests
from core.domain.keys import KeyVersion
from core.domain.new_keys import NewVersion, RotationPolicy, VersionChanges
from core.domain.observed import ListedKey
from core.domain.rate_limits import weight_of
from core.domain.secrets import SecretBytes

_REMEMBERED_WEIGHTS = 4_096


class VaultChanges:
    """Changes the keys of one vault or managed HSM, and remembers what a request about a key costs."""

    def __init__(self, requests: VaultRequests) -> None:
        self._requests = requests
        self._weights: OrderedDict[str, int] = OrderedDict()

    async def create(self, name: str, new: NewVersion) -> tuple[ListedKey, KeyVersion]:
        """Have the vault generate a key, or a new version of one that is there."""
        return await self._changed(key_requests.create(name, new))

    async def import_key(self, name: str, new: NewVersion, private_key: SecretBytes) -> tuple[ListedKey, KeyVersion]:
        """Import software-protected material."""
        return await self._changed(key_requests.import_key(name, new, private_key))

    async def import_transfer_blob(self, name: str, new: NewVersion, blob: bytes) -> tuple[ListedKey, KeyVersion]:
        """Import material that is wrapped for a key exchange key of this vault."""
        return await self._changed(key_requests.import_transfer_blob(name, new, blob))

    async def update(self, name: str, version: str, changes: VersionChanges) -> tuple[ListedKey, KeyVersion]:
        """Change attributes of one version."""
        return await self._changed(key_requests.update(name, version, changes), self._weight(name))

    async def rotate(self, name: str) -> tuple[ListedKey, KeyVersion]:
        """Have the vault make a new version with new material."""
        return await self._changed(key_requests.rotate(name))

    async def delete(self, name: str) -> tuple[ListedKey, KeyVersion]:
        """Soft-delete a key with all versions."""
        return await self._changed(key_requests.delete(name), self._weight(name))

    async def recover(self, name: str) -> tuple[ListedKey, KeyVersion]:
        """Recover a soft-deleted key with all versions."""
        return await self._changed(key_requests.recover(name), self._weight(name))

    async def purge(self, name: str) -> None:
        """Purge a soft-deleted key."""
        await self._requests.send(key_requests.purge(name), _nothing, self._weight(name))

    async def restore(self, backup: SecretBytes) -> tuple[ListedKey, KeyVersion]:
        """Restore a backup blob under its name with all versions."""
        return await self._changed(key_requests.restore(backup))

    async def rotation_policy(self, name: str) -> RotationPolicy:
        """Return the vault's own rotation policy of a key."""
        request = key_requests.rotation_policy(name)
        return await self._requests.send(request, key_answers.rotation_policy, self._weight(name))

    async def set_rotation_policy(self, name: str, policy: RotationPolicy) -> RotationPolicy:
        """Replace the vault's own rotation policy of a key."""
        request = key_requests.set_rotation_policy(name, policy, self._requests.vault.type)
        return await self._requests.send(request, key_answers.rotation_policy, self._weight(name))

    async def _changed(self, request: VaultRequest, cost: int = 1) -> tuple[ListedKey, KeyVersion]:
        listed, version = await self._requests.send(request, key_answers.key_bundle, cost)
        self._remember(listed.name, version)
        return listed, version

    def _weight(self, name: str) -> int:
        return self._weights.get(name, 1)

    def _remember(self, name: str, version: KeyVersion) -> int:
        weight = weight_of(self._requests.vault.type, version.type, version.size)
        if weight > 1:
            self._weights[name] = weight
            if len(self._weights) > _REMEMBERED_WEIGHTS:
                self._weights.popitem(last=False)
        return weight


def _nothing(content: bytes) -> None:
    """Read an answer that has no content."""
