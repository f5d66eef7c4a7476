"""Exports and transfer blobs on the wire."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import Field

from core.domain.exchange_keys import ExchangeKey
from core.domain.groups import Group
from core.domain.key_kinds import KeyFamily, KeyKind
from core.material.exporting import ExportFormat
from core.material.wrapping import OaepHash, WrapAlgorithm
from core.services.exports import Exported, Wrapping
from core.services.source_keys import SourceUse
from core.services.transfers import CheckedBlob
from functions.models.accounts import GroupId
from functions.models.base import AnswerModel, Page, RequestModel, Secret
from functions.models.new_keys import KeyId, NamedModel, SourceModel, kind_of

_Blob = Annotated[
    str, Field(min_length=1, max_length=131_072, description="The transfer blob: its JSON text, or that in base64.")
]


class WrapModel(RequestModel):
    """The source key to wrap under."""

    group: GroupId
    key: KeyId
    version: Annotated[int | None, Field(ge=1, le=1_000_000)] = None
    algorithm: Annotated[WrapAlgorithm | None, Field(description="What fits the key, unless you say.")] = None
    oaep_hash: OaepHash = OaepHash.SHA256

    def wrapping(self) -> Wrapping:
        """Return it for the services."""
        return Wrapping(SourceUse(self.group, self.key, self.version), self.algorithm, self.oaep_hash)


class ExportBody(RequestModel):
    """How to take a key's material out: wrapped under another source key (better), or as a file of its own."""

    version: Annotated[int | None, Field(ge=1, le=1_000_000)] = None
    wrap: WrapModel | None = None
    format: Annotated[ExportFormat | None, Field(description="`pem` or `der` (PKCS#8); `raw` for AES keys.")] = None
    passphrase: Annotated[Secret | None, Field(description="Encrypts the PEM or DER.")] = None


class ExportAnswer(AnswerModel):
    """A key's material. `value` is PEM text as it is, everything else in base64."""

    name: str
    version: int
    format: ExportFormat | None
    wrapped_with: WrapAlgorithm | None
    encoding: Literal["pem", "base64"]
    value: Annotated[str, Field(repr=False)]

    @classmethod
    def shown(cls, exported: Exported, format_: ExportFormat | None) -> Self:
        """Show what was exported."""
        pem = format_ is ExportFormat.PEM
        return cls(
            name=exported.name,
            version=exported.version,
            format=format_,
            wrapped_with=exported.wrapped_with,
            encoding="pem" if pem else "base64",
            value=exported.content.decode().reveal() if pem else exported.base64(),
        )


class BlobBody(RequestModel):
    """A transfer blob to make of a source key for this group's vault.

    `key_exchange_key` names one of the vault's keys (its Azure name or full id); without it, Keysteward makes or reuses
    its own.
    """

    source: SourceModel
    key_exchange_key: Annotated[str | None, Field(min_length=1, max_length=400)] = None


class BlobCheckBody(RequestModel):
    """A transfer blob to check. `type`, `size` and `curve` say what key it is to hold."""

    blob: _Blob
    type: Literal["RSA", "EC", "AES"] | None = None
    size: int | None = None
    curve: Annotated[str | None, Field(max_length=16)] = None

    def kind(self) -> KeyKind | None:
        """Return what the blob is to hold, as far as it is said."""
        if self.type is None:
            return None
        family = KeyFamily(self.type)
        return kind_of(family, self.size, self.curve) if self.size or self.curve else KeyKind(family)


class BlobImportBody(NamedModel):
    """A transfer blob to import. A blob does not tell which key it holds, so that has to be said."""

    blob: _Blob
    type: Literal["RSA", "EC", "AES"]
    size: Annotated[int | None, Field(description="Bits of an RSA or AES key.")] = None
    curve: Annotated[str | None, Field(max_length=16, description="Of an EC key.")] = None

    def kind(self) -> KeyKind:
        """Return what the blob holds; InvalidRequestError `key_kind_invalid`."""
        return kind_of(KeyFamily(self.type), self.size, self.curve)


class BlobProblemAnswer(AnswerModel):
    """One thing that is wrong with a blob."""

    code: str
    detail: str


class BlobCheckAnswer(AnswerModel):
    """What is known of a blob; it can be imported here exactly if `usable`."""

    usable: bool
    kid: str | None
    generator: str | None
    problems: tuple[BlobProblemAnswer, ...]

    @classmethod
    def shown(cls, checked: CheckedBlob) -> Self:
        """Show the result of a check."""
        return cls(
            usable=not checked.problems,
            kid=checked.blob.kid if checked.blob else None,
            generator=checked.blob.generator if checked.blob else None,
            problems=tuple(BlobProblemAnswer.of(problem) for problem in checked.problems),
        )


class ExchangeKeyAnswer(AnswerModel):
    """A key exchange key that Keysteward made. `key` is its record; it wraps until `renew_on`."""

    key: str
    azure_name: str
    kid: str | None
    created_on: datetime
    renew_on: datetime
    retire_on: datetime
    retired_on: datetime | None

    @classmethod
    def shown(cls, exchange_key: ExchangeKey, group: Group) -> Self:
        """Show a key exchange key of a group."""
        uri = group.vault.uri if group.vault else None
        return cls(
            key=exchange_key.key,
            azure_name=exchange_key.azure_name,
            kid=f"{uri}/keys/{exchange_key.azure_name}/{exchange_key.version}" if uri else None,
            created_on=exchange_key.created_on,
            renew_on=exchange_key.renew_on,
            retire_on=exchange_key.retire_on,
            retired_on=exchange_key.retired_on,
        )


class ExchangeKeyPage(Page[ExchangeKeyAnswer]):
    """A group's key exchange keys, newest first."""
