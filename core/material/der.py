"""As much of DER (X.690) as private keys need: strict reading, and writing.

Invariants: lengths are definite and minimal, integers minimal and not negative, nothing follows the outermost element.
What is not so raises MalformedDerError. Nothing recurses, so no input is too deep.
"""

from dataclasses import dataclass

INTEGER, BIT_STRING, OCTET_STRING, NULL, OID, SEQUENCE = 0x02, 0x03, 0x04, 0x05, 0x06, 0x30
#: Context-specific tags 0 and 1, constructed, and 1 primitive (an implicit BIT STRING).
CONTEXT_0, CONTEXT_1, IMPLICIT_1 = 0xA0, 0xA1, 0x81

_LONG_FORM = 0x80
_MULTI_BYTE_TAG = 0x1F
_LENGTH_OCTETS = 4
_SIGN = 0x80


class MalformedDerError(Exception):
    """These octets are not DER, or not of the expected structure."""


@dataclass(frozen=True, slots=True, repr=False)
class Element:
    """One element: its tag octet and its content. It may be secret and has no `repr`."""

    tag: int
    content: bytes

    def children(self, tag: int = SEQUENCE) -> tuple["Element", ...]:
        """The elements in this one, which must have `tag`."""
        return _elements(self._content_of(tag))

    def integer(self) -> int:
        """The value of an INTEGER."""
        content = self._content_of(INTEGER)
        if not content or content[0] & _SIGN or (content[0] == 0 and len(content) > 1 and not content[1] & _SIGN):
            raise MalformedDerError
        return int.from_bytes(content)

    def octets(self) -> bytes:
        """The value of an OCTET STRING."""
        return self._content_of(OCTET_STRING)

    def bits(self, tag: int = BIT_STRING) -> bytes:
        """The value of a BIT STRING of whole octets."""
        content = self._content_of(tag)
        if not content or content[0] != 0:
            raise MalformedDerError
        return content[1:]

    def oid(self) -> str:
        """The value of an OBJECT IDENTIFIER in hex, as it stands in DER; comparing needs no more."""
        return self._content_of(OID).hex()

    def _content_of(self, tag: int) -> bytes:
        if self.tag != tag:
            raise MalformedDerError
        return self.content


def read(content: bytes) -> Element:
    """Read the one element that `content` is."""
    element, end = _element(content, 0)
    if end != len(content):
        raise MalformedDerError
    return element


def is_sequence(content: bytes) -> bool:
    """Whether `content` is one SEQUENCE from its first octet to its last; what is in it is not looked at."""
    try:
        return read(content).tag == SEQUENCE
    except MalformedDerError:
        return False


def tags(elements: tuple[Element, ...]) -> tuple[int, ...]:
    """Return the tags of elements: the shape of a structure."""
    return tuple(element.tag for element in elements)


def write(tag: int, *contents: bytes) -> bytes:
    """Return an element with these contents, one after the other."""
    content = b"".join(contents)
    length = len(content)
    if length < _LONG_FORM:
        return bytes((tag, length)) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes((tag, _LONG_FORM | len(octets))) + octets + content


def write_integer(value: int) -> bytes:
    """Return a non-negative INTEGER."""
    return write(INTEGER, value.to_bytes(value.bit_length() // 8 + 1))


def write_oid(value: str) -> bytes:
    """Return an OBJECT IDENTIFIER from its content in hex."""
    return write(OID, bytes.fromhex(value))


def _elements(content: bytes) -> tuple[Element, ...]:
    found, position = [], 0
    while position < len(content):
        element, position = _element(content, position)
        found.append(element)
    return tuple(found)


def _element(content: bytes, start: int) -> tuple[Element, int]:
    """Read the element at `start`; return it and where the next one begins."""
    head = content[start : start + 2]
    if len(head) < 2 or head[0] & _MULTI_BYTE_TAG == _MULTI_BYTE_TAG:  # noqa: PLR2004 - tag and length
        raise MalformedDerError
    length, begin = _length(content, start + 1)
    end = begin + length
    if end > len(content):
        raise MalformedDerError
    return Element(head[0], content[begin:end]), end


def _length(content: bytes, position: int) -> tuple[int, int]:
    """Read the length at `position`; return it and where the content begins."""
    first = content[position]
    if first < _LONG_FORM:
        return first, position + 1
    count = first & ~_LONG_FORM
    octets = content[position + 1 : position + 1 + count]
    length = int.from_bytes(octets)
    minimal = length >= _LONG_FORM and octets[:1] != b"\0"
    if not 0 < count <= _LENGTH_OCTETS or len(octets) != count or not minimal:
        raise MalformedDerError
    return length, position + 1 + count
