"""Names of keys: their grammar, and an index of them in the order of the services' lists.

Names compare case-insensitively; the index holds them folded to upper case and always sorted, so a page costs
a binary search however many keys there are.
"""

import re
from bisect import bisect_left, insort
from collections.abc import Iterable
from itertools import islice

from local.emulator.keyvault.errors import KeyVaultError, MalformedUriError, bad_parameter
from local.emulator.keyvault.kinds import is_hsm
from local.emulator.world import Vault

_NAME = re.compile(r"[0-9a-zA-Z-]{1,127}\Z")
_VERSION = re.compile(r"[0-9a-fA-F]{32}\Z")
# The web server in front of a vault refuses these itself.
_REFUSED_BY_SERVER = frozenset('<>*%&:\\?"|')


def fold(name: str) -> str:
    """Return the form under which a name is looked up."""
    return name.upper()


def check_name(vault: Vault, name: str) -> None:
    """Raise unless `name` may name a key."""
    if _NAME.match(name):
        return
    if is_hsm(vault):
        raise bad_parameter("Invalid key identifier or name")
    if not name:
        raise bad_parameter("Operation not specified")
    if not _REFUSED_BY_SERVER.isdisjoint(name):
        raise MalformedUriError(name)
    raise _invalid_uri_name(name)


def check_version(vault: Vault, version: str) -> None:
    """Raise unless `version` is empty or the id of a version."""
    if version and not _VERSION.match(version):
        raise bad_parameter("Invalid key identifier or name") if is_hsm(vault) else _invalid_uri_name(version)


def _invalid_uri_name(name: str) -> KeyVaultError:
    return bad_parameter(f"The request URI contains an invalid name: {name}")


class SortedNames:
    """Folded names, always sorted."""

    def __init__(self) -> None:
        self._names: list[str] = []

    def __len__(self) -> int:
        """Return how many names there are."""
        return len(self._names)

    def add(self, name: str) -> None:
        """Add a folded name that is not there."""
        insort(self._names, name)

    def add_all(self, names: Iterable[str]) -> None:
        """Add many folded names that are not there, sorting once."""
        self._names.extend(names)
        self._names.sort()

    def discard(self, name: str) -> None:
        """Take a folded name out if it is there."""
        index = bisect_left(self._names, name)
        if index < len(self._names) and self._names[index] == name:
            del self._names[index]

    def page(self, start: str, size: int) -> tuple[list[str], str | None]:
        """Return up to `size` names from `start` on, and the name that the next page starts with."""
        index = bisect_left(self._names, start)
        names = list(islice(self._names, index, index + size))
        following = index + size
        return names, self._names[following] if following < len(self._names) else None
