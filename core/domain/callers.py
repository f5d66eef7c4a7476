"""Who is calling, once the platform or a verifier has said so."""

from dataclasses import dataclass
from enum import StrEnum


class CallerKind(StrEnum):
    """How a caller proved who it is."""

    USER = "user"
    SERVICE_PRINCIPAL = "service_principal"
    API_KEY = "api_key"


@dataclass(frozen=True, slots=True)
class Caller:
    """A proven identity; what it may do is decided per account.

    `principal` is the id under which accounts know it: for Entra identities derived from tenant and object id,
    for API keys the application's id. `account` is set where the proof itself belongs to one account.
    """

    kind: CallerKind
    principal: str
    display_name: str
    tenant_id: str | None = None
    object_id: str | None = None
    email: str | None = None
    account: str | None = None


class ActorKind(StrEnum):
    """Who caused a recorded change."""

    USER = "user"
    APPLICATION = "application"
    GROUP = "group"
    SYNC = "sync"
    OUTSIDE = "outside"
    TIMER = "timer"


@dataclass(frozen=True, slots=True)
class Actor:
    """The cause of a change, as history shows it."""

    kind: ActorKind
    id: str
    name: str
