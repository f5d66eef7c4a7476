"""The structures of private keys in DER: what they are, and their numbers, not yet checked.

Read are PKCS#8 (RFC 5958, versions 1 and 2), PKCS#1 (RFC 8017, A.1.2) and SEC 1 (RFC 5915). What is something else is
recognised by its shape, so that the refusal can name it. A structure tells what it is; labels of PEM are not trusted.

Invariants: DER only; nothing in front, nothing behind; the parameters of the algorithm are what the RFC says. RSA with
more than two primes, RSA restricted to PSS or OAEP, and explicit curve parameters are refused.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from core.errors import InvalidRequestError
from core.material import refusals
from core.material.der import (
    BIT_STRING,
    CONTEXT_0,
    CONTEXT_1,
    IMPLICIT_1,
    INTEGER,
    NULL,
    OCTET_STRING,
    OID,
    SEQUENCE,
    Element,
    MalformedDerError,
    read,
    tags,
)

# Object identifiers, as they stand in DER.
_RSA = "2a864886f70d010101"
_EC = "2a8648ce3d0201"
_CURVE_NAMES = MappingProxyType(
    {"2a8648ce3d030107": "P-256", "2b81040022": "P-384", "2b81040023": "P-521", "2b8104000a": "P-256K"}
)
_OTHER_KINDS = MappingProxyType(
    {
        "2a864886f70d01010a": "An RSA key that is restricted to PSS",
        "2a864886f70d010107": "An RSA key that is restricted to OAEP",
        "2b6570": "An Ed25519 key",
        "2b6571": "An Ed448 key",
        "2b656e": "An X25519 key",
        "2b656f": "An X448 key",
        "2a8648ce380401": "A DSA key",
        "2a864886f70d010301": "A Diffie-Hellman key",
        "2a8648ce3e0201": "A Diffie-Hellman key",
    }
)
_PKCS7 = "2a864886f70d0107"

_RSA_NUMBERS = (INTEGER,) * 9
_OTHER_SHAPES: Mapping[tuple[int, ...], Callable[[], InvalidRequestError]] = MappingProxyType(
    {
        (SEQUENCE, BIT_STRING): refusals.public_only,
        (INTEGER, INTEGER): refusals.public_only,
        (SEQUENCE, SEQUENCE, BIT_STRING): refusals.certificate,
        (INTEGER,) * 6: lambda: refusals.kind_unsupported("A DSA key"),
        (*_RSA_NUMBERS, SEQUENCE): lambda: refusals.kind_unsupported("An RSA key with more than two primes"),
        (SEQUENCE, OCTET_STRING): lambda: refusals.format_unsupported("an encrypted key inside an encrypted one"),
    }
)
_PKCS8_ADDITIONS = ((), (CONTEXT_0,), (IMPLICIT_1,), (CONTEXT_0, IMPLICIT_1))
_SEC1_ADDITIONS = ((), (CONTEXT_0,), (CONTEXT_1,), (CONTEXT_0, CONTEXT_1))
_PKCS12_VERSION = 3


@dataclass(frozen=True, slots=True, repr=False)
class RsaNumbers:
    """The numbers of an RSA key, by RFC 8017's names."""

    n: int
    e: int
    d: int
    p: int
    q: int
    dp: int
    dq: int
    qi: int


@dataclass(frozen=True, slots=True)
class EcNumbers:
    """The private value of an EC key, its curve by Azure's name, and the public points that came with it (X9.62)."""

    curve: str
    d: int = field(repr=False)
    points: tuple[bytes, ...] = ()


type Numbers = RsaNumbers | EcNumbers


def is_encrypted(octets: bytes) -> bool:
    """Whether this is a PKCS#8 EncryptedPrivateKeyInfo."""
    try:
        return tags(read(octets).children()) == (SEQUENCE, OCTET_STRING)
    except MalformedDerError:
        return False


def numbers_of(octets: bytes) -> Numbers:
    """Read a private key that is not encrypted.

    Raises InvalidRequestError `material_corrupt`, `material_kind_unsupported`, `material_curve_not_allowed`,
    `material_public_only`, `material_certificate`, `material_format_unsupported`, `material_inconsistent`.
    """
    try:
        parts = read(octets).children()
        shape = tags(parts)
        if shape[:3] == (INTEGER, SEQUENCE, OCTET_STRING) and shape[3:] in _PKCS8_ADDITIONS:
            return _pkcs8(parts)
        if shape == _RSA_NUMBERS:
            return _pkcs1(parts)
        if shape[:2] == (INTEGER, OCTET_STRING) and shape[2:] in _SEC1_ADDITIONS:
            return _sec1(parts, None)
        refusal = _other(parts)
    except MalformedDerError:
        refusal = _damaged(octets)
    raise refusal


def _damaged(octets: bytes) -> InvalidRequestError:
    # Windows and Java write PKCS#12 in BER, which is not read here.
    start = octets[:64].hex()
    return refusals.format_unsupported("PKCS#12") if "020103" in start and _PKCS7 in start else refusals.corrupt()


def _other(parts: tuple[Element, ...]) -> InvalidRequestError:
    """Say what this is instead of a private key that is read."""
    shape = tags(parts)
    if shape[:2] == (INTEGER, SEQUENCE) and parts[0].integer() == _PKCS12_VERSION and _starts(parts[1], _PKCS7):
        return refusals.format_unsupported("PKCS#12")
    if shape == (OID, CONTEXT_0) and parts[0].oid().startswith(_PKCS7):
        return refusals.format_unsupported("PKCS#7")
    refusal = _OTHER_SHAPES.get(shape, refusals.corrupt)
    return refusal()


def _starts(element: Element, oid: str) -> bool:
    inner = element.children()
    return bool(inner) and inner[0].tag == OID and inner[0].oid().startswith(oid)


def _pkcs8(parts: tuple[Element, ...]) -> Numbers:
    version, algorithm, key = parts[0].integer(), parts[1].children(), parts[2].octets()
    public = parts[-1].bits(IMPLICIT_1) if parts[-1].tag == IMPLICIT_1 else None
    if version not in {0, 1} or not algorithm:
        raise MalformedDerError
    identifier, parameters = algorithm[0].oid(), algorithm[1:]
    if identifier == _RSA:
        return _rsa_of_pkcs8(key, parameters, public)
    if identifier == _EC:
        curve = _curve(parameters)
        found = _sec1(read(key).children(), curve)
        return found if public is None else EcNumbers(curve, found.d, (*found.points, public))
    raise refusals.kind_unsupported(_OTHER_KINDS.get(identifier, "A key of this type"))


def _rsa_of_pkcs8(key: bytes, parameters: tuple[Element, ...], public: bytes | None) -> RsaNumbers:
    if tags(parameters) not in {(), (NULL,)} or any(parameter.content for parameter in parameters):
        raise MalformedDerError
    parts = read(key).children()
    if tags(parts) != _RSA_NUMBERS:
        raise _other(parts)
    found = _pkcs1(parts)
    if public is not None and [part.integer() for part in read(public).children()] != [found.n, found.e]:
        raise refusals.inconsistent("The public key that is given with the private one is another one.")
    return found


def _pkcs1(parts: tuple[Element, ...]) -> RsaNumbers:
    version, *numbers = (part.integer() for part in parts)
    if version != 0:
        raise MalformedDerError
    return RsaNumbers(*numbers)


def _sec1(parts: tuple[Element, ...], outer_curve: str | None) -> EcNumbers:
    """Read an ECPrivateKey; `outer_curve` is what PKCS#8 says around it."""
    shape = tags(parts)
    if shape[:2] != (INTEGER, OCTET_STRING) or shape[2:] not in _SEC1_ADDITIONS or parts[0].integer() != 1:
        raise MalformedDerError
    named = next((_curve(part.children(CONTEXT_0)) for part in parts if part.tag == CONTEXT_0), None)
    points = tuple(_only(part.children(CONTEXT_1)).bits() for part in parts if part.tag == CONTEXT_1)
    curve = named or outer_curve
    if curve is None:
        raise refusals.curve_not_allowed("The key does not name its curve.")
    if outer_curve not in {None, curve}:
        raise refusals.inconsistent("The key names two different curves.")
    return EcNumbers(curve, int.from_bytes(parts[1].octets()), points)


def _curve(parameters: tuple[Element, ...]) -> str:
    """Return the curve that parameters name; explicit ones may describe any curve at all."""
    parameter = _only(parameters)
    if parameter.tag != OID:
        raise refusals.curve_not_allowed(
            "The key does not name its curve but describes it by explicit parameters. Write it with a named curve "
            "(openssl: -param_enc named_curve)."
        )
    curve = _CURVE_NAMES.get(parameter.oid())
    if curve is None:
        raise refusals.curve_not_allowed("The key's curve is none of P-256, P-384, P-521 and P-256K.")
    return curve


def _only(elements: tuple[Element, ...]) -> Element:
    if len(elements) != 1:
        raise MalformedDerError
    return elements[0]
