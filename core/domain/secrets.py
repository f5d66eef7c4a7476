"""Types that hold a secret and give it away only where `reveal` is written.

Invariants: neither `repr`, `str`, `format`, pickling nor JSON shows the content; comparison takes constant time.
"""

import hmac
from typing import NoReturn, Self

_MASK = "********"


class _Hidden[T: (str, bytes)]:
    __slots__ = ("_content",)
    _content: T

    def __init__(self, content: T) -> None:
        self._content = content

    def reveal(self) -> T:
        """Return the content. Every call site is a place to review."""
        return self._content

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_MASK})"

    __str__ = __repr__

    def __format__(self, format_spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, type(self)):
            return NotImplemented
        return hmac.compare_digest(_as_bytes(self._content), _as_bytes(other._content))

    def __hash__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is not hashable")

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} cannot be serialised")

    def __bool__(self) -> bool:
        return bool(self._content)


def _as_bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


class SecretText(_Hidden[str]):
    """A password, client secret, PEM text or API key."""

    def encode(self) -> "SecretBytes":
        """The same secret as UTF-8 bytes."""
        return SecretBytes(self._content.encode())


class SecretBytes(_Hidden[bytes]):
    """Plaintext bytes on their way to or from sealing."""

    def decode(self) -> SecretText:
        """The same secret as text; the bytes must be UTF-8."""
        return SecretText(self._content.decode())

    @classmethod
    def of(cls, content: bytes) -> Self:
        """Wrap `content`; named so that call sites read well."""
        return cls(content)
