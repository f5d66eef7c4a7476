"""Numbers of private keys that belong together, and keys made of them.

Invariants: nothing becomes material unchecked. The numbers' sizes are known before anything is computed with them, so
the work is bounded: about 0.3 s for RSA 4096, most of it for testing the primes.

Sources: RFC 8017, 3.2 (what holds between the numbers of an RSA key); FIPS 186-5, A.1.1 (primes of half the modulus'
length that are far apart; that the private exponent is large follows from the bound of the public one); SEC 1, 3.2.1
(an EC key: 0 < d < n, the point is d*G).
"""

import math

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core.domain.key_kinds import AES_SIZES, RSA_SIZES
from core.material import refusals
from core.material.material import CURVES, KeyMaterial
from core.material.private_keys import EcNumbers, Numbers, RsaNumbers

_EXPONENT_BITS = 32
_SMALLEST_EXPONENT = 3
# FIPS 186-5, A.1.3: |p - q| > 2^(nlen/2 - 100). A closer pair is found from the modulus alone.
_DISTANCE_BITS = 100


def check_size(numbers: Numbers) -> None:
    """Raise InvalidRequestError `material_size_not_allowed` for a modulus that is taken nowhere."""
    if isinstance(numbers, RsaNumbers) and numbers.n.bit_length() not in RSA_SIZES:
        raise refusals.size_not_allowed("RSA keys have 2048, 3072 or 4096 bits; this one does not.")


def checked(numbers: Numbers) -> KeyMaterial:
    """Return the key with these numbers.

    Raises InvalidRequestError `material_size_not_allowed`, `material_exponent_not_allowed`, `material_inconsistent`,
    `material_weak`.
    """
    check_size(numbers)
    return _checked_rsa(numbers) if isinstance(numbers, RsaNumbers) else _checked_ec(numbers)


def checked_octets(octets: bytes) -> KeyMaterial:
    """Return the AES key with these octets.

    Raises InvalidRequestError `material_size_not_allowed`, `material_weak`.
    """
    if 8 * len(octets) not in AES_SIZES:
        raise refusals.size_not_allowed("AES keys have 16, 24 or 32 octets (128, 192 or 256 bits); this has not.")
    if not any(octets):
        raise refusals.weak("The key's octets are all zero.")
    return KeyMaterial.of_octets(octets)


def _checked_rsa(key: RsaNumbers) -> KeyMaterial:
    if key.e % 2 == 0 or key.e < _SMALLEST_EXPONENT or key.e.bit_length() > _EXPONENT_BITS:
        raise refusals.exponent_not_allowed()
    if not _belong_together(key):
        raise refusals.inconsistent("The numbers of this RSA key do not belong together.")
    if not _hard_to_find(key):
        raise refusals.weak("The primes of this RSA key are too unequal or too close: others can find them.")
    public = rsa.RSAPublicNumbers(key.e, key.n)
    numbers = rsa.RSAPrivateNumbers(key.p, key.q, key.d, key.dp, key.dq, key.qi, public)
    try:
        return KeyMaterial.of_private_key(numbers.private_key())
    except ValueError:
        raise refusals.inconsistent("The factors of this RSA key are no primes.") from None


def _belong_together(key: RsaNumbers) -> bool:
    if key.p < _SMALLEST_EXPONENT or key.q < _SMALLEST_EXPONENT or key.p * key.q != key.n or not 0 < key.d < key.n:
        return False
    return (
        key.e * key.d % math.lcm(key.p - 1, key.q - 1) == 1
        and key.dp == key.d % (key.p - 1)
        and key.dq == key.d % (key.q - 1)
        and key.qi < key.p
        and key.qi * key.q % key.p == 1
    )


def _hard_to_find(key: RsaNumbers) -> bool:
    half = key.n.bit_length() // 2
    balanced = key.p.bit_length() == key.q.bit_length() == half
    apart = abs(key.p - key.q).bit_length() > half - _DISTANCE_BITS
    return balanced and apart


def _checked_ec(numbers: EcNumbers) -> KeyMaterial:
    curve = CURVES[numbers.curve]
    if not 0 < numbers.d < curve.group_order:
        raise refusals.inconsistent("The private value of this EC key is not in the range of its curve.")
    key = ec.derive_private_key(numbers.d, curve)
    if not all(_is_public_point(key.public_key(), point) for point in numbers.points):
        raise refusals.inconsistent("The public point of this EC key does not belong to its private value.")
    return KeyMaterial.of_private_key(key)


def _is_public_point(key: ec.EllipticCurvePublicKey, point: bytes) -> bool:
    """Whether `point` is the key's, written in any of the ways of X9.62: compressed, uncompressed or hybrid."""
    compressed = key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    uncompressed = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    hybrid = bytes((compressed[0] + 4,)) + uncompressed[1:]
    return point in {compressed, uncompressed, hybrid}
