"""The text of API keys: `ks_`, the body of the key's id, `_`, and 43 characters that are 256 random bits.

Invariants: the form is on the wire for ever; what is stored is the SHA-256 of the secret part, which needs no salt or
stretching because the secret is random; verifiers are compared in constant time.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass

from core.domain.identifiers import IdKind
from core.domain.secrets import SecretBytes, SecretText

PREFIX = "ks_"
_FORM = re.compile(r"ks_([a-z2-7]{24})_([A-Za-z0-9_-]{43})", re.ASCII)
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class ApiKeyToken:
    """An API key as its holder presents it: which one, and the proof."""

    id: str
    secret: SecretText

    @property
    def text(self) -> SecretText:
        """The whole API key, to be shown once."""
        body = self.id.removeprefix(f"{IdKind.API_KEY.value}_")
        return SecretText(f"{PREFIX}{body}_{self.secret.reveal()}")

    @property
    def verifier(self) -> SecretBytes:
        """What is stored of it."""
        return SecretBytes(hashlib.sha256(self.secret.reveal().encode()).digest())

    def proves(self, verifier: SecretBytes) -> bool:
        """Whether this is the API key that `verifier` was made of; constant time."""
        return self.verifier == verifier


def new_token(id_: str) -> ApiKeyToken:
    """Make the secret of the API key `id_`."""
    return ApiKeyToken(id_, SecretText(secrets.token_urlsafe(_SECRET_BYTES)))


def parsed_token(text: SecretText) -> ApiKeyToken | None:
    """Return the parts of a well-formed API key."""
    match = _FORM.fullmatch(text.reveal())
    return ApiKeyToken(f"{IdKind.API_KEY.value}_{match[1]}", SecretText(match[2])) if match else None
