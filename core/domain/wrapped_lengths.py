"""How long a key can be once it is wrapped: all that is seen of a key in a transfer blob.

RSA and EC keys are wrapped as PKCS#8 in DER, symmetric keys as their octets; AES key wrap with padding fills up to 8
octets and adds 8. Writers of DER differ: EC keys come with and without their public point and with the curve named
twice, Windows adds an attribute, numbers lose leading zeros. Every such form is allowed for, since a wrong refusal
would stop a good key, while the HSM has the last word on a bad one.

Sources: RFC 5649, 3; RFC 5958, RFC 8017 (A.1.2), RFC 5915; X.690, 8.1.3 (lengths).
"""

from collections.abc import Iterator
from itertools import product
from types import MappingProxyType

from core.domain.key_kinds import AES_SIZES, CURVES, RSA_SIZES, KeyFamily, KeyKind

WRAP_BLOCK = 8
#: Two blocks: the shortest that RFC 5649 makes.
SHORTEST_WRAP = 16

# A curve's octets of a coordinate, and of its OBJECT IDENTIFIER with tag and length.
_CURVES = MappingProxyType({"P-256": (32, 10), "P-256K": (32, 7), "P-384": (48, 7), "P-521": (66, 7)})
_EC_IDENTIFIER = 9
_RSA_ALGORITHM = 15
_SMALL_INTEGER = 3
# Windows' key usage attribute: A0 0D 30 0B 06 03 55 1D 0F 31 04 03 02 00 80.
_ATTRIBUTE = 15
# A number of n octets is written with a zero in front if its first bit is set, and shorter if it begins with zeros.
_SHORTER = 8


def wrapped_lengths(kind: KeyKind) -> frozenset[int]:
    """Return the octets that AES key wrap with padding makes of keys of this kind; size and curve may be None."""
    return frozenset(_wrapped(octets) for octets in _plain_lengths(kind))


def _wrapped(octets: int) -> int:
    return -(-octets // WRAP_BLOCK) * WRAP_BLOCK + WRAP_BLOCK


def _plain_lengths(kind: KeyKind) -> Iterator[int]:
    if kind.family is KeyFamily.AES:
        yield from (size // 8 for size in AES_SIZES if kind.size in {None, size})
    elif kind.family is KeyFamily.RSA:
        for size in RSA_SIZES:
            if kind.size in {None, size}:
                yield from _rsa_lengths(size // 8)
    else:
        for curve in CURVES:
            if kind.curve in {None, curve}:
                yield from _ec_lengths(*_CURVES[curve])


def _rsa_lengths(octets: int) -> range:
    """From the shortest to the longest PKCS#8 of a modulus of `octets`."""
    half = octets // 2
    fixed = _element(octets + 1) + 2 * _element(half + 1)
    shortest = fixed + _element(1) + _element(octets - _SHORTER) + 3 * _element(half - _SHORTER)
    longest = fixed + _element(5) + _element(octets + 1) + 3 * _element(half + 1)
    low, high = (_pkcs8(_RSA_ALGORITHM, _element(_SMALL_INTEGER + numbers)) for numbers in (shortest, longest))
    return range(low, high + _ATTRIBUTE + 1)


def _ec_lengths(octets: int, curve: int) -> Iterator[int]:
    """The PKCS#8 of a private value of `octets`, with and without parameters, public point and attribute."""
    forms = product((-1, 0, 1), (0, _element(curve)), (0, _element(_element(2 + 2 * octets))), (0, _ATTRIBUTE))
    for more, parameters, point, attribute in forms:
        key = _element(_SMALL_INTEGER + _element(octets + more) + parameters + point)
        yield _pkcs8(_element(_EC_IDENTIFIER + curve), key, attribute)


def _pkcs8(algorithm: int, key: int, attribute: int = 0) -> int:
    return _element(_SMALL_INTEGER + algorithm + _element(key) + attribute)


def _element(content: int) -> int:
    """The octets of an element of DER with that much content."""
    return 1 + (1 if content < 0x80 else 1 + (content.bit_length() + 7) // 8) + content  # noqa: PLR2004 - X.690
