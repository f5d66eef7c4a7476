"""Actions on keys on the wire."""

from typing import Annotated

from pydantic import ConfigDict, Field

from core.domain.connection_drafts import KEEP
from core.domain.new_keys import VersionChanges
from core.errors import InvalidRequestError
from core.services.source_attributes import SourceChanges
from functions.models.base import Moment, RequestModel

_Words = Annotated[tuple[Annotated[str, Field(max_length=32)], ...], Field(max_length=16)]
_Version = Annotated[int | None, Field(ge=1, le=1_000_000, description="A version's number.")]
Reason = Annotated[str, Field(min_length=1, max_length=500, examples=["Suspected leak, ticket 4711"])]


class KeyPatch(RequestModel):
    """What to change; what is left out stays.

    Dates, and the operations of a key in a vault, are those of one version: the current one, or `version`. Azure moves
    a date, but never takes one away; of a source key `null` takes it away.
    """

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"expires_on": "2027-06-30T00:00:00Z", "tags": {"env": "prod"}}]}
    )

    version: _Version = None
    not_before: Annotated[Moment | None, Field(description="Activation date.")] = None
    expires_on: Annotated[Moment | None, Field(description="Deactivation date.")] = None
    operations: Annotated[_Words | None, Field(description="Of a key in a vault, in Azure's words.")] = None
    permissions: Annotated[_Words | None, Field(description="Of a source key.")] = None
    tags: Annotated[dict[str, str] | None, Field(description="All tags, in place of those that there are.")] = None

    def in_vault(self) -> VersionChanges:
        """Return the changes of a key in a vault."""
        if self.permissions is not None:
            raise _for_other_kind("permissions")
        for date in ("not_before", "expires_on"):
            if date in self.model_fields_set and getattr(self, date) is None:
                detail = "Azure takes no date away; set another one."
                raise InvalidRequestError(detail, code="date_not_removable", field=date)
        return VersionChanges(
            not_before=self.not_before,
            expires_on=self.expires_on,
            operations=self.operations,
            tags=None if self.tags is None else tuple(self.tags.items()),
        )

    def of_source(self) -> SourceChanges:
        """Return the changes of a source key."""
        if self.operations is not None:
            raise _for_other_kind("operations")
        given = self.model_fields_set
        return SourceChanges(
            not_before=self.not_before if "not_before" in given else KEEP,
            expires_on=self.expires_on if "expires_on" in given else KEEP,
            permissions=self.permissions,
            tags=None if self.tags is None else tuple(self.tags.items()),
        )


class Deactivate(RequestModel):
    """Why a key is disabled. Without `version`, all of its versions are."""

    reason: Reason
    version: _Version = None


class Activate(RequestModel):
    """Without `version`, what the key's deactivation disabled is enabled again, or else its current version."""

    reason: Annotated[str, Field(max_length=500)] = ""
    version: _Version = None


class SoftDelete(RequestModel):
    """A soft-deletion. `without_escrow` needs the permission `key.without_escrow`."""

    acknowledge: Annotated[bool, Field(description="That the key is unusable once deleted, with all versions.")] = False
    without_escrow: bool = False


class Purge(RequestModel):
    """A purge. `without_escrow` needs the permission `key.without_escrow`."""

    without_escrow: bool = False


class Restore(RequestModel):
    """Which escrow generation to restore: the newest, unless you say."""

    generation: Annotated[str | None, Field(pattern=r"^esc_[a-z2-7]{24}$")] = None


def _for_other_kind(field: str) -> InvalidRequestError:
    return InvalidRequestError(
        "This belongs to keys of the other kind of group.", code="field_for_other_kind", field=field
    )
