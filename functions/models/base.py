"""What all wire models share.

Invariants: a request with an unknown field is refused; a secret becomes a `SecretText` in the moment it is validated,
and no validation error repeats its input.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from core.domain.secrets import SecretText


class RequestModel(BaseModel):
    """A request body, or a part of one: strict types, no unknown fields."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True, defer_build=True)


class QueryModel(BaseModel):
    """Query parameters: text is converted, unknown parameters are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)


class NoQuery(QueryModel):
    """No query parameter at all."""


class AnswerModel(BaseModel):
    """An answer, or a part of one. Times are UTC, RFC 3339."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    @classmethod
    def of(cls, source: object) -> Self:
        """Show those attributes of `source` that this model names."""
        return cls.model_validate(source, from_attributes=True)


class Page[Item: AnswerModel](AnswerModel):
    """One page of a list; `next` is the value of `next` for the following page, null on the last one."""

    items: tuple[Item, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class _Secret:
    """Validates text, and hides it at once."""

    max_length: int

    def __get_pydantic_core_schema__(self, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.str_schema(min_length=1, max_length=self.max_length, strict=True)
        return core_schema.no_info_after_validator_function(SecretText, text)

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {
            "type": "string", "format": "password", "writeOnly": True, "minLength": 1, "maxLength": self.max_length
        }  # fmt: skip


def _in_utc(moment: datetime) -> datetime:
    # Bounds that every store and every sum with a duration can take.
    if not 1970 <= moment.year < 9_000:  # noqa: PLR2004
        raise ValueError("The year is out of bounds.")
    return moment.astimezone(UTC)


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc), Field(examples=["2027-01-01T00:00:00Z"])]
Secret = Annotated[SecretText, _Secret(4_096)]
SecretPem = Annotated[SecretText, _Secret(65_536)]
#: As much as a file of 64 KiB, the largest that is taken, has in base64.
SecretMaterial = Annotated[SecretText, _Secret(87_384)]
Pem = Annotated[str, Field(min_length=1, max_length=262_144, description="Certificates in PEM.")]
Title = Annotated[str, Field(min_length=1, max_length=128, examples=["Payments"])]
Description = Annotated[str, Field(max_length=2_000)]
Guid = Annotated[
    str,
    Field(
        pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
        examples=["3f2504e0-4f89-41d3-9a0c-0305e82c3301"],
    ),
]
