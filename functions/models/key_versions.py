"""A key's versions on the wire, of virtual and of source keys."""

from datetime import datetime
from typing import Self

from core.domain.groups import Group
from core.domain.keys import KeyState, KeyVersion, PublicKey, VirtualKey, state_at
from core.domain.public_keys import as_jwk
from core.domain.source_keys import SourceKey, SourceVersion
from core.material.exporting import public_pem
from functions.models.base import AnswerModel, Page


class PublicKeyAnswer(AnswerModel):
    """The public half as JWK members; `thumbprint` is the SHA-256 thumbprint of RFC 7638."""

    n: str | None
    e: str | None
    curve: str | None
    x: str | None
    y: str | None
    thumbprint: str | None


class VersionAnswer(AnswerModel):
    """A version, numbered from 1 by age. `kid` is its full id in Azure; a source key's version has its number as id.

    `source_version` is the version of the source key that a copy's version is.
    """

    id: str
    number: int
    kid: str | None
    state: KeyState
    enabled: bool
    not_before: datetime | None
    expires_on: datetime | None
    created_on: datetime
    updated_on: datetime
    type: str
    size: int | None
    operations: tuple[str, ...]
    tags: dict[str, str]
    exportable: bool
    managed: bool
    public_key: PublicKeyAnswer
    source_version: int | None = None

    @classmethod
    def shown(cls, key: VirtualKey, version: KeyVersion, number: int, group: Group, now: datetime) -> Self:
        """Show a version of `key` as of `now`."""
        return cls(
            id=version.id,
            number=number,
            kid=f"{group.vault.uri}/keys/{key.azure_name}/{version.id}" if group.vault else None,
            state=state_at(key.presence, version.validity, now),
            enabled=version.validity.enabled,
            not_before=version.validity.not_before,
            expires_on=version.validity.expires_on,
            created_on=version.created_on,
            updated_on=version.updated_on,
            type=version.type,
            size=version.size,
            operations=version.operations,
            tags=dict(version.tags),
            exportable=version.exportable,
            managed=version.managed,
            public_key=PublicKeyAnswer.of(version.public_key),
            source_version=_source_version(key, version),
        )

    @classmethod
    def of_source(cls, key: SourceKey, version: SourceVersion, now: datetime) -> Self:
        """Show a version of a source key as of `now`."""
        return cls(
            id=str(version.number),
            number=version.number,
            kid=None,
            state=state_at(key.presence, version.validity, now),
            enabled=version.validity.enabled,
            not_before=version.validity.not_before,
            expires_on=version.validity.expires_on,
            created_on=version.created_on,
            updated_on=version.created_on,
            type=key.kind.family.value,
            size=key.kind.size,
            operations=key.permissions,
            tags=dict(key.tags),
            exportable="export" in key.permissions,
            managed=False,
            public_key=PublicKeyAnswer.of(version.public_key),
        )


class VersionPage(Page[VersionAnswer]):
    """A key's versions, newest first."""


class PublicKeyFileAnswer(AnswerModel):
    """A version's public key: as PEM (SubjectPublicKeyInfo) and as a JSON Web Key."""

    version: str
    number: int
    pem: str
    jwk: dict[str, str]
    thumbprint: str | None

    @classmethod
    def shown(cls, version: str, number: int, public_key: PublicKey) -> Self:
        """Show a public key; InvalidRequestError `public_key_not_available` for a symmetric key."""
        pem = public_pem(public_key)
        return cls(version=version, number=number, pem=pem, jwk=as_jwk(public_key), thumbprint=public_key.thumbprint)


def _source_version(key: VirtualKey, version: KeyVersion) -> int | None:
    copied = key.copied_from.versions if key.copied_from else ()
    return next((one.source_version for one in copied if one.version == version.id), None)
