"""Opaque ids: a short prefix that tells the kind, then 24 characters without meaning.

Ids are lower-case base32, so that they are safe in URLs, blob names, and Table Storage keys.
"""

import base64
import hashlib
import re
import secrets
from enum import StrEnum

_BODY = 24
_PATTERN = re.compile(r"[a-z]{3}_[a-z2-7]{24}")


class IdKind(StrEnum):
    """The prefixes in use."""

    ACCOUNT = "acc"
    PRINCIPAL = "prn"
    APPLICATION = "app"
    API_KEY = "apk"
    GROUP = "grp"
    KEY = "key"
    JOB = "job"
    DATA_KEY = "dek"
    ESCROW = "esc"
    FINDING = "fnd"
    INTENT = "int"
    MATERIAL = "mat"


def new_id(kind: IdKind) -> str:
    """Make a random id (120 bits)."""
    return _join(kind, secrets.token_bytes(15))


def derived_id(kind: IdKind, *parts: str) -> str:
    """Make the id that always belongs to `parts`, so that work done twice names the same object."""
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()
    return _join(kind, digest[:15])


def is_id(text: str, kind: IdKind) -> bool:
    """Whether `text` has the form of an id of `kind`."""
    return _PATTERN.fullmatch(text) is not None and text.startswith(f"{kind.value}_")


def _join(kind: IdKind, body: bytes) -> str:
    return f"{kind.value}_{base64.b32encode(body).decode().lower()[:_BODY]}"
