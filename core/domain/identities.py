"""Who somebody is across accounts: the ids under which Entra identities and e-mail invitations are known."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from core.domain.identifiers import IdKind, derived_id

_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,190}")
# Not a tenant id, so that an invitation's id is never an identity's.
_EMAIL_NAMESPACE = "email"


@dataclass(frozen=True, slots=True)
class Identity:
    """The accounts in which an identity was made a principal: account id to principal id.

    It may name a principal that is not there (a broken-off change); the principal's row is what counts.
    """

    id: str
    memberships: Mapping[str, str] = field(default_factory=dict)


def entra_principal_id(tenant_id: str, object_id: str) -> str:
    """Return the id of an Entra user or service principal."""
    return derived_id(IdKind.PRINCIPAL, tenant_id.lower(), object_id.lower())


def email_principal_id(email: str) -> str:
    """Return the id of whoever is invited by `email`."""
    return derived_id(IdKind.PRINCIPAL, _EMAIL_NAMESPACE, email.strip().lower())


def is_guid(text: str) -> bool:
    """Whether `text` is a tenant or object id."""
    return _GUID.fullmatch(text.lower()) is not None


def is_email(text: str) -> bool:
    """Whether `text` can be an e-mail address; whether it is one shows when its owner signs in."""
    return _EMAIL.fullmatch(text) is not None
