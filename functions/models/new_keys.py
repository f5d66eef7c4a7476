"""New keys on the wire: what is generated, imported, copied or brought in a transfer blob."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from core.domain.callers import Actor
from core.domain.groups import Group
from core.domain.key_kinds import AES_SIZES, CURVES, RSA_SIZES, KeyFamily, KeyKind, Protection
from core.domain.keys import Validity
from core.domain.new_keys import KeyNames, KeySettings, NewKey, ReleasePolicy
from core.errors import InvalidRequestError
from core.material.reading import Expected, GivenMaterial, MaterialEncoding
from core.material.wrapping import OaepHash, WrapAlgorithm
from core.services.copies import WantedCopy
from core.services.given_keys import GivenKey, Unwrapping
from core.services.source_keys import SourceUse
from functions.models.accounts import GroupId
from functions.models.base import Moment, RequestModel, Secret, SecretMaterial

KeyId = Annotated[str, Field(pattern=r"^key_[a-z2-7]{24}$", examples=["key_2f3hq6bq4zj5m7k2c4d6e7f3"])]
_Name = Annotated[str, Field(min_length=1, max_length=128, description="Unique in the account.")]
_AzureName = Annotated[str, Field(min_length=1, max_length=127, description="Unique in the vault.")]
_Words = Annotated[tuple[Annotated[str, Field(max_length=32)], ...], Field(max_length=16)]
_Version = Annotated[int, Field(ge=1, le=1_000_000, description="A version's number; without it, the current one.")]
_TYPES = Literal["RSA", "EC", "AES"]
_DEFAULTS: Mapping[KeyFamily, KeyKind] = {
    KeyFamily.RSA: KeyKind(KeyFamily.RSA, 3072),
    KeyFamily.EC: KeyKind(KeyFamily.EC, curve="P-256"),
    KeyFamily.AES: KeyKind(KeyFamily.AES, 256),
}


class ReleasePolicyModel(RequestModel):
    """The policy under which Azure releases an exportable key ('Secure key release')."""

    data: Annotated[
        dict[str, Any],
        Field(
            description="The policy itself.",
            examples=[{"version": "1.0.0", "anyOf": [{"authority": "https://attest.example.net", "allOf": []}]}],
        ),
    ]
    immutable: bool = False

    def policy(self) -> ReleasePolicy:
        """Return it for the services."""
        return ReleasePolicy(json.dumps(self.data, separators=(",", ":")), self.immutable)


class SettingsModel(RequestModel):
    """How a key is to be. What is left out follows from the group (or, in a copy, from the source key)."""

    protection: Annotated[Protection | None, Field(description="`hsm` where the vault has it, unless you say.")] = None
    operations: Annotated[_Words | None, Field(description="Of a key in a vault, in Azure's words.")] = None
    permissions: Annotated[_Words | None, Field(description="Of a source key; all but `export`, unless you say.")] = (
        None
    )
    enabled: bool | None = None
    not_before: Annotated[Moment | None, Field(description="Activation date.")] = None
    expires_on: Annotated[Moment | None, Field(description="Deactivation date.")] = None
    tags: dict[str, str] | None = None
    exportable: bool = False
    release_policy: ReleasePolicyModel | None = None

    def settings(self) -> KeySettings:
        """Return them for the services."""
        return KeySettings(
            protection=self.protection,
            operations=self.operations,
            permissions=self.permissions,
            validity=self.validity(),
            tags=None if self.tags is None else tuple(self.tags.items()),
            exportable=self.exportable,
            release_policy=self.release_policy.policy() if self.release_policy else None,
        )

    def validity(self) -> Validity | None:
        """Return state and dates, None where nothing was said of either."""
        if self.enabled is None and self.not_before is None and self.expires_on is None:
            return None
        return Validity(self.enabled is not False, self.not_before, self.expires_on)


class NamedModel(SettingsModel):
    """A key with its names: `name`, `azure_name` (in a vault only), or both."""

    name: _Name | None = None
    azure_name: _AzureName | None = None
    reuse_purged: Annotated[
        bool,
        Field(
            description="Take the Azure name of a purged key, which can then be restored here only when the new "
            "one has been purged."
        ),
    ] = False

    def names(self) -> KeyNames:
        """Return the names for the services."""
        return KeyNames(self.name, self.azure_name, self.reuse_purged)

    def new(self, request: str, group: Group, actor: Actor) -> NewKey:
        """Return the key that is wanted in a group."""
        return NewKey(request, group, self.names(), self.settings(), actor)


class NewKeyBody(NamedModel):
    """A key to generate."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "card-token", "type": "EC", "curve": "P-256", "tags": {"env": "prod"}},
                {"azure_name": "wrapping", "type": "RSA", "size": 4096, "protection": "hsm"},
            ]
        }
    )

    type: _TYPES
    size: Annotated[int | None, Field(description="Bits, of an RSA (3072 unless you say) or AES key (256).")] = None
    curve: Annotated[str | None, Field(max_length=16, description="Of an EC key: P-256 unless you say.")] = None

    def kind(self) -> KeyKind:
        """Return what to generate; InvalidRequestError `key_kind_invalid`."""
        family = KeyFamily(self.type)
        return kind_of(family, self.size, self.curve) if self.size or self.curve else _DEFAULTS[family]


class UnwrapModel(RequestModel):
    """The source key that unwraps the material: AES key wrap with padding, or RSA-AES key wrap."""

    group: GroupId
    key: KeyId
    version: _Version | None = None
    algorithm: Annotated[WrapAlgorithm | None, Field(description="What fits the key, unless you say.")] = None
    oaep_hash: Annotated[OaepHash | None, Field(description="SHA-256, then SHA-1, unless you say.")] = None

    def unwrapping(self) -> Unwrapping:
        """Return it for the services."""
        return Unwrapping(SourceUse(self.group, self.key, self.version), self.algorithm, self.oaep_hash)


class MaterialModel(RequestModel):
    """Key material: DER (PKCS#1, PKCS#8, SEC1), PEM, or the octets of a symmetric key. It is never shown again."""

    value: SecretMaterial
    encoding: Annotated[MaterialEncoding, Field(description="How `value` is written.")] = MaterialEncoding.AUTO
    passphrase: Annotated[Secret | None, Field(description="Of an encrypted private key.")] = None
    unwrap: Annotated[UnwrapModel | None, Field(description="The key has been encrypted: how to decrypt it.")] = None

    def given(self, expected: Expected) -> GivenKey:
        """Return it for the services."""
        material = GivenMaterial(self.value, self.encoding, self.passphrase)
        return GivenKey(material, expected, self.unwrap.unwrapping() if self.unwrap else None)


class ImportBody(NamedModel):
    """A key to import. `type`, `size` and `curve` say what it is to be, and are checked; AES octets need `type`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "imported",
                    "type": "EC",
                    "material": {"value": "-----BEGIN PRIVATE KEY-----\n...", "encoding": "pem"},
                }
            ]
        }
    )

    material: MaterialModel
    type: _TYPES | None = None
    size: int | None = None
    curve: Annotated[str | None, Field(max_length=16)] = None

    def given(self) -> GivenKey:
        """Return the material and what it is to be."""
        family = KeyFamily(self.type) if self.type else None
        return self.material.given(Expected(family, self.size, self.curve))


class VersionBody(RequestModel):
    """A new version of a source key: with material, or generated where there is none."""

    material: MaterialModel | None = None
    not_before: Moment | None = None
    expires_on: Moment | None = None

    def validity(self) -> Validity:
        """Return the dates."""
        return Validity(True, self.not_before, self.expires_on)


class CopyModel(NamedModel):
    """One copy. Names, operations, dates and tags are suggested, or the source key's, unless you say."""

    group: GroupId

    def wanted(self, group: Group) -> WantedCopy:
        """Return it for the services."""
        return WantedCopy(group, self.names(), self.settings())


class CopyBody(RequestModel):
    """A source key to copy, to one group or to many at once."""

    version: _Version | None = None
    targets: Annotated[tuple[CopyModel, ...], Field(min_length=1, max_length=200)]


class SourceModel(RequestModel):
    """A version of a source key."""

    group: GroupId
    key: KeyId
    version: _Version | None = None

    def use(self) -> SourceUse:
        """Return it for the services."""
        return SourceUse(self.group, self.key, self.version)


def kind_of(family: KeyFamily, size: int | None, curve: str | None) -> KeyKind:
    """Return a kind whose members go together; InvalidRequestError `key_kind_invalid`."""
    if family is KeyFamily.EC:
        if size is not None:
            raise _invalid("size", "An EC key has a curve, not a size.")
        if curve not in CURVES:
            raise _invalid("curve", f"Curves are {', '.join(CURVES)}.")
        return KeyKind(family, curve=curve)
    if curve is not None:
        raise _invalid("curve", "Only EC keys have a curve.")
    sizes = RSA_SIZES if family is KeyFamily.RSA else AES_SIZES
    if size not in sizes:
        raise _invalid("size", f"Sizes of {family.value} keys are {', '.join(map(str, sizes))} bits.")
    return KeyKind(family, size)


def _invalid(field: str, detail: str) -> InvalidRequestError:
    return InvalidRequestError(detail, code="key_kind_invalid", field=field)
