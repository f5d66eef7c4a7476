"""The two names of a key: the display name, unique in its account, and the Azure key name, unique in its vault.

Invariant: only a name that a sync gave (`{group's label}/{Azure name}`) holds a slash, so a name that somebody chose
never meets one of these.

Source of Azure's rule: REST specification of Key Vault (`^[0-9a-zA-Z-]+$`) and 'About keys, secrets and certificates'
(1 to 127 characters; compared without case).
"""

import re
import unicodedata

from core.domain.new_keys import KeyNames
from core.errors import InvalidRequestError

NAME_LIMIT = 128
AZURE_NAME_LIMIT = 127
_AZURE_NAME = re.compile(r"[0-9a-zA-Z-]{1,127}")


def folded(name: str) -> str:
    """Return the form in which two display names are compared."""
    return unicodedata.normalize("NFC", name).casefold()


def checked_name(text: str, field: str = "name") -> str:
    """Return a display name without surrounding space; InvalidRequestError `key_name_invalid`."""
    name = unicodedata.normalize("NFC", text.strip())
    if not name or len(name) > NAME_LIMIT or not name.isprintable() or "/" in name:
        detail = f"A key's name has 1 to {NAME_LIMIT} printable characters and no slash."
        raise InvalidRequestError(detail, code="key_name_invalid", field=field)
    return name


def checked_azure_name(text: str, field: str = "azure_name") -> str:
    """Return `text` if Azure takes it as a key's name; InvalidRequestError `azure_name_invalid`."""
    if not _AZURE_NAME.fullmatch(text):
        detail = f"An Azure key name has 1 to {AZURE_NAME_LIMIT} letters, digits and hyphens."
        raise InvalidRequestError(detail, code="azure_name_invalid", field=field)
    return text


def in_vault(names: KeyNames, label: str) -> tuple[str, str]:
    """Return display name and Azure name of a key in a vault, from those given; `label` is the group's.

    Raises InvalidRequestError `key_name_invalid`, `azure_name_invalid`.
    """
    if names.name is None and names.azure_name is None:
        raise InvalidRequestError("A key needs a name, an Azure name, or both.", code="key_name_invalid", field="name")
    if names.name is None:
        azure_name = checked_azure_name(names.azure_name or "")
        return synced_name(label, azure_name), azure_name
    name = checked_name(names.name)
    if names.azure_name is None:
        return name, checked_azure_name(name)
    return name, checked_azure_name(names.azure_name)


def synced_name(label: str, azure_name: str) -> str:
    """Return the display name of a key that nobody named."""
    return f"{label}/{azure_name}"


def is_chosen(name: str) -> bool:
    """Whether somebody chose the display name, so that it has to be reserved."""
    return "/" not in name


def copy_name(name: str, number: int) -> str:
    """Return the suggested display name of a copy: `<name>_copy1`."""
    suffix = f"_copy{number}"
    return name.replace("/", "-")[: NAME_LIMIT - len(suffix)] + suffix


def azure_form(name: str) -> str:
    """Return `name` as an Azure key name: whatever Azure does not take becomes a hyphen."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^0-9a-zA-Z-]+", "-", plain).strip("-")[-AZURE_NAME_LIMIT:].lstrip("-") or "key"


def label_of(name: str, number: int) -> str:
    """Return the nth label for a group whose vault has this name."""
    return name if number == 1 else f"{name}-{number}"
