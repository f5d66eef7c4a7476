"""Groups as people give them: new ones, and changes to those that are there; and what makes them acceptable."""

from dataclasses import dataclass, field

from core.domain.clouds import Cloud
from core.domain.connection_drafts import KEEP, ConnectionDraft, CredentialDraft, Keep, ProxyDraft, TlsDraft
from core.domain.drills import DrillSettings, check_drill
from core.domain.groups import EscrowSettings, Group, GroupKind, SyncSchedule
from core.domain.key_kinds import KeyPolicy
from core.errors import ConflictError, InvalidRequestError

DESCRIPTION_LIMIT = 2_000
GENERATIONS_LIMIT = 100
FULL_SYNC_DAYS_LIMIT = 365


@dataclass(frozen=True, slots=True)
class NewGroup:
    """A group to create. `vault` is a resource id; an Azure group may be created without, and select one once."""

    kind: GroupKind
    title: str
    description: str = ""
    connection: ConnectionDraft | None = None
    vault: str | None = None
    schedule: SyncSchedule = field(default_factory=SyncSchedule)
    escrow: EscrowSettings = field(default_factory=EscrowSettings)
    key_policy: KeyPolicy = field(default_factory=KeyPolicy)
    drill: DrillSettings = field(default_factory=DrillSettings)


@dataclass(frozen=True, slots=True)
class GroupChanges:
    """What of a group changes. The last three cannot: they are accepted only as they are."""

    title: str | Keep = KEEP
    description: str | Keep = KEEP
    credential: CredentialDraft | Keep = KEEP
    tls: TlsDraft | Keep = KEEP
    proxy: ProxyDraft | Keep | None = KEEP
    schedule: SyncSchedule | Keep = KEEP
    escrow: EscrowSettings | Keep = KEEP
    key_policy: KeyPolicy | Keep = KEEP
    drill: DrillSettings | Keep = KEEP
    cloud: Cloud | Keep = KEEP
    subscription_id: str | Keep = KEEP
    vault: str | Keep | None = KEEP

    @property
    def connects(self) -> bool:
        """Whether the connection is touched."""
        return any(part is not KEEP for part in (self.credential, self.tls, self.proxy))


def check_new(new: NewGroup) -> None:
    """Raise InvalidRequestError where kind and members do not go together."""
    if new.kind is GroupKind.AZURE and new.connection is None:
        raise InvalidRequestError("An Azure group needs a connection.", code="connection_invalid", field="connection")
    if new.kind is GroupKind.SOURCE and (new.connection is not None or new.vault is not None):
        field = "connection" if new.connection is not None else "vault"
        raise InvalidRequestError("A source group has no connection and no vault.", code="group_invalid", field=field)
    check_settings(new.description, new.schedule, new.escrow)
    check_drill(new.drill)


def check_settings(description: str, schedule: SyncSchedule, escrow: EscrowSettings) -> None:
    """Raise InvalidRequestError `group_invalid` for a value out of its bounds."""
    if len(description) > DESCRIPTION_LIMIT:
        raise _out_of_bounds("description", f"A description has at most {DESCRIPTION_LIMIT} characters.")
    if not 1 <= schedule.full_every_days <= FULL_SYNC_DAYS_LIMIT:
        raise _out_of_bounds("schedule.full_every_days", f"Days are 1 to {FULL_SYNC_DAYS_LIMIT}.")
    if not 1 <= escrow.keep_generations <= GENERATIONS_LIMIT:
        raise _out_of_bounds("escrow.keep_generations", f"Generations are 1 to {GENERATIONS_LIMIT}.")


def check_fixed(group: Group, changes: GroupChanges) -> None:
    """Raise ConflictError `field_fixed` where cloud, subscription or vault would change, `group_kind` without any."""
    if group.connection is None:
        if changes.connects or any(
            part is not KEEP for part in (changes.cloud, changes.subscription_id, changes.vault)
        ):
            raise ConflictError("A source group has no connection and no vault.", code="group_kind")
        return
    if changes.cloud not in (KEEP, group.connection.cloud):
        raise _fixed("connection.cloud")
    subscription = changes.subscription_id
    if isinstance(subscription, str) and subscription.lower() != group.connection.subscription_id.lower():
        raise _fixed("connection.subscription_id")
    present = group.vault.resource_id if group.vault else None
    if changes.vault is not KEEP and _folded(changes.vault) != _folded(present):
        raise _fixed("vault")


def _folded(text: str | None) -> str | None:
    return text.lower() if text is not None else None


def _fixed(field: str) -> ConflictError:
    return ConflictError(
        "This cannot change; link another group instead. A vault is selected with an operation of its own.",
        code="field_fixed",
        field=field,
    )


def _out_of_bounds(field: str, detail: str) -> InvalidRequestError:
    return InvalidRequestError(detail, code="group_invalid", field=field)
