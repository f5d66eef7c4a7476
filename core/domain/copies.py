"""Copies of source keys: what is ordered, and what a copy takes over from its source."""

from dataclasses import dataclass, replace
from datetime import datetime

from core.domain.callers import Actor
from core.domain.groups import Group, GroupKind
from core.domain.key_kinds import operations_of
from core.domain.keys import CopiedFrom, CopiedTo, CopiedVersion
from core.domain.new_keys import KeySettings
from core.domain.source_keys import SourceKey, SourceVersion


@dataclass(frozen=True, slots=True)
class CopyTarget:
    """One copy to make: where to, under which names, and how it is to be. `request` stands for it when it is retried.

    `settings` are complete: what was not given was taken from the source key when the copy was ordered.
    """

    request: str
    group: str
    name: str
    azure_name: str | None
    settings: KeySettings
    reuse_purged: bool = False


@dataclass(frozen=True, slots=True)
class CopyOrder:
    """Which version of which source key is copied, and where to."""

    group: str
    key: str
    version: int
    targets: tuple[CopyTarget, ...]


def inherited(settings: KeySettings, key: SourceKey, version: SourceVersion, target: Group) -> KeySettings:
    """Return the settings of a copy: those given, and the source key's where none were."""
    whole = replace(
        settings,
        validity=version.validity if settings.validity is None else settings.validity,
        tags=key.tags if settings.tags is None else settings.tags,
    )
    if target.kind is GroupKind.SOURCE:
        permissions = key.permissions if settings.permissions is None else settings.permissions
        return replace(whole, permissions=permissions)
    operations = operations_of(key.permissions) if settings.operations is None else settings.operations
    return replace(whole, operations=operations)


def link_of(key: SourceKey, version: SourceVersion, actor: Actor, now: datetime) -> CopiedFrom:
    """Return the link that a copy carries; the vault's version id comes when there is one."""
    copied = CopiedVersion("", version.number, version.public_key.thumbprint)
    return CopiedFrom(key.group, key.id, key.name, actor, now, (copied,))


def back_link(target: Group, copy: str, name: str, azure_name: str | None, link: CopiedFrom) -> CopiedTo:
    """Return the link that the source key carries."""
    return CopiedTo(
        group=target.id,
        group_title=target.title,
        key=copy,
        name=name,
        azure_name=azure_name,
        source_version=link.versions[-1].source_version,
        copied_by=link.copied_by,
        copied_on=link.copied_on,
    )
