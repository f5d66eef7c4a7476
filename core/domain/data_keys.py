"""Data keys: the AES-256 keys under which an account's secrets are sealed, as they lie in storage.

Invariants: a data key is 32 random bytes and is stored wrapped only; its id and content never change, only the
version of the sealing key that wraps it does.
"""

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime

from core.errors import IntegrityError

DATA_KEY_BYTES = 32
DATA_KEY_SCHEMA = 1
WRAPPING_ALGORITHM = "RSA-OAEP-256"


@dataclass(frozen=True, slots=True)
class WrappedDataKey:
    """One data key as stored; the members are on disk for ever: add, never rename.

    `wrapped` is base64url without padding; `sealing_key` is the full key id, with its version, that wrapped it.
    """

    id: str
    account: str
    wrapped: str
    sealing_key: str
    created_on: datetime
    algorithm: str = WRAPPING_ALGORITHM
    schema: int = DATA_KEY_SCHEMA

    @property
    def wrapped_bytes(self) -> bytes:
        """The wrapped key."""
        try:
            return base64.b64decode(self.wrapped + "=" * (-len(self.wrapped) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise data_key_unavailable(self.id) from error


def encoded(wrapped_key: bytes) -> str:
    """Return `wrapped_key` as WrappedDataKey holds it."""
    return base64.urlsafe_b64encode(wrapped_key).rstrip(b"=").decode()


def data_key_unavailable(data_key: str | None = None) -> IntegrityError:
    """Say that a data key cannot be had, and no more of it than its id where that is known."""
    return IntegrityError(
        "The data key of a sealed object is missing or is not what was stored.",
        code="data_key_unavailable",
        facts={"data_key": data_key} if data_key else {},
    )
