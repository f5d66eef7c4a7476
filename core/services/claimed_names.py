"""The two names of a key that is being made in a vault: claimed before the vault is asked, given back if nothing came.

Invariants: only the request that claimed a name gives it back; a name that was claimed long ago may be another's by
now, so whoever comes back to an intent claims its names again.
"""

from dataclasses import replace

from core.domain.groups import Group
from core.domain.intents import Intent
from core.domain.key_names import is_chosen, synced_name
from core.errors import ConflictError
from core.services.display_names import DisplayNames
from core.services.vault_names import being_taken


class ClaimedNames:
    """Claims names for intents."""

    def __init__(self, names: DisplayNames) -> None:
        self._names = names

    async def claim(self, intent: Intent) -> None:
        """Take both names, or hold them on; ConflictError `key_name_taken`, `key_display_name_taken`."""
        if not await self._names.reserve_in_vault(intent.account, intent.group, intent.azure_name, intent.id):
            raise being_taken()
        if is_chosen(intent.name):
            try:
                await self._names.reserve(intent.account, intent.name, intent.id)
            except ConflictError:
                await self._names.release_in_vault(intent.account, intent.group, intent.azure_name, intent.id)
                raise

    async def kept(self, intent: Intent, group: Group) -> Intent:
        """Return a left-over intent with the display name that its key can have: its own, unless another took that."""
        if not is_chosen(intent.name):
            return intent
        try:
            await self._names.reserve(intent.account, intent.name, intent.id)
        except ConflictError:
            return replace(intent, name=synced_name(group.key_label, intent.azure_name))
        return intent

    async def made(self, intent: Intent) -> None:
        """End the claim of the Azure name: the key has it now."""
        await self._names.release_in_vault(intent.account, intent.group, intent.azure_name, intent.id)

    async def give_back(self, intent: Intent) -> None:
        """Give both names back."""
        await self.made(intent)
        if is_chosen(intent.name):
            await self._names.release(intent.account, intent.name, intent.id)
