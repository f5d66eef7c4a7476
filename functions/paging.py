"""Pages: `limit` and `next` of every list, and the two forms of `next`.

Invariant: where a cursor may name something that the caller does not see, it is sealed, not merely encoded.
"""

import base64
import binascii
from typing import Annotated

from pydantic import Field

from core.domain.sealing import PAGE_CURSOR
from core.domain.secrets import SecretBytes
from core.errors import IntegrityError, InvalidRequestError
from core.ports import Binding, Sealer
from functions.models.base import QueryModel

DEFAULT_LIMIT = 50
MAX_LIMIT = 200

Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT, description="How many items at most.")]
Next = Annotated[str, Field(min_length=1, max_length=4_096, description="Opaque: the `next` of the page before.")]


class PageQuery(QueryModel):
    """Which page of a list."""

    limit: Limit = DEFAULT_LIMIT
    next: Next | None = None

    @property
    def after(self) -> str | None:
        """The position behind which the page starts; InvalidRequestError `invalid_cursor`."""
        return None if self.next is None else decoded(self.next)


def encoded(position: str | None) -> str | None:
    """Return the `next` for a position that tells nothing."""
    return None if position is None else base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")


def decoded(cursor: str) -> str:
    """Return the position in a `next` that `encoded` made."""
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise invalid_cursor() from None


async def sealed(sealer: Sealer, account: str, list_: str, position: str | None) -> str | None:
    """Return the `next` for a position in `list_` (its name and order) that may tell something."""
    if position is None:
        return None
    return await sealer.seal(_binding(account, list_), SecretBytes(position.encode()))


async def opened(sealer: Sealer, account: str, list_: str, cursor: str | None) -> str | None:
    """Return the position in a `next` that `sealed` made for the same list."""
    if cursor is None:
        return None
    if not cursor.isascii():
        raise invalid_cursor()
    try:
        return (await sealer.open(_binding(account, list_), cursor)).decode().reveal()
    except IntegrityError:
        raise invalid_cursor() from None


def _binding(account: str, list_: str) -> Binding:
    return Binding(account, PAGE_CURSOR, account, list_)


def invalid_cursor() -> InvalidRequestError:
    """Return the refusal of a `next` that is not this list's."""
    return InvalidRequestError("`next` is not one that this list gave out.", code="invalid_cursor", field="next")
