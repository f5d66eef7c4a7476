"""API keys on the wire. The key itself is in the answer that issues it, and nowhere else."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import Field

from core.domain.accounts import ApiKey
from core.domain.secrets import SecretText
from functions.models.base import AnswerModel, Moment, Page, RequestModel


class ApiKeyDraft(RequestModel):
    """A new API key; without `expires_on` it works until it is revoked."""

    expires_on: Moment | None = None


class ApiKeyRotation(RequestModel):
    """How long the old API key goes on to work (seconds), and up to when the new one does."""

    overlap_seconds: Annotated[int, Field(ge=0, le=2_592_000)] = 86_400
    expires_on: Moment | None = None


class ApiKeyAnswer(AnswerModel):
    """An API key, without the key."""

    id: str
    application: str
    created_on: datetime
    expires_on: datetime | None
    revoked_on: datetime | None
    replaced_by: str | None


class IssuedApiKeyAnswer(ApiKeyAnswer):
    """A new API key. `api_key` is the key itself: it is shown here and nowhere else."""

    api_key: Annotated[str, Field(repr=False, examples=["ks_aebagbafaydqqcikbmgq2dyc_" + "x" * 43])]

    @classmethod
    def issued(cls, api_key: ApiKey, text: SecretText) -> Self:
        """Show an API key with its text."""
        return cls(**ApiKeyAnswer.of(api_key).model_dump(), api_key=text.reveal())


class ApiKeyPage(Page[ApiKeyAnswer]):
    """The API keys of an application."""
