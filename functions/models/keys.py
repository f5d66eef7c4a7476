"""Lists of keys on the wire."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from core.domain.keys import KeyClass, KeyOrigin, KeyState
from core.domain.summaries import KeySummary
from functions.models.accounts import GroupId
from functions.models.base import AnswerModel, Moment, Page, QueryModel
from functions.paging import PageQuery

Text = Annotated[str, Field(min_length=1, max_length=256)]


class KeysQuery(PageQuery):
    """Which keys, and in which order."""

    group: GroupId | None = None
    kind: Annotated[KeyClass | None, Field(description="Where the material is.")] = None
    state: KeyState | None = None
    origin: KeyOrigin | None = None
    type: Annotated[Text | None, Field(examples=["RSA-HSM"])] = None
    tag: Annotated[Text | None, Field(description="A tag's name, or `name=value`.", examples=["env=prod"])] = None
    expires_before: Moment | None = None
    expires_after: Moment | None = None
    drifted: bool | None = None
    text: Annotated[Text | None, Field(description="A part of the name.")] = None
    sort: Literal["name", "-name", "expires_on", "-expires_on", "updated_on", "-updated_on"] = "name"


class VersionQuery(QueryModel):
    """Which version of a key."""

    version: Annotated[int | None, Field(ge=1, le=1_000_000, description="Its number; the current one without.")] = None


class KeyItem(AnswerModel):
    """A key as lists show it. `state` is derived at the time of the answer."""

    id: str
    group: str
    name: str
    azure_name: str | None
    kind: KeyClass
    state: KeyState
    origin: KeyOrigin
    type: str | None
    size: int | None
    curve: str | None
    enabled: bool
    not_before: datetime | None
    expires_on: datetime | None
    updated_on: datetime | None
    tags: dict[str, str]
    versions: int
    escrowed_on: datetime | None
    escrow_pending: bool
    escrow_problem: str | None
    drifted: bool
    scheduled_purge_on: datetime | None

    @classmethod
    def shown(cls, key: KeySummary, now: datetime) -> "KeyItem":
        """Show a list entry as of `now`."""
        return cls(
            id=key.id,
            group=key.group,
            name=key.name,
            azure_name=key.azure_name or None,
            kind=key.key_class,
            state=key.state(now),
            origin=key.origin,
            type=key.type,
            size=key.size,
            curve=key.curve,
            enabled=key.enabled,
            not_before=key.not_before,
            expires_on=key.expires_on,
            updated_on=key.updated_on,
            tags=dict(key.tags),
            versions=key.versions,
            escrowed_on=key.escrowed_on,
            escrow_pending=key.escrow_pending,
            escrow_problem=key.escrow_problem,
            drifted=key.drifted,
            scheduled_purge_on=key.scheduled_purge_on,
        )


class KeyPage(Page[KeyItem]):
    """Keys in the order asked for. A page may be short and yet not the last: `next` tells."""
