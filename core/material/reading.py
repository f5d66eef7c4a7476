"""Key material as people give it, read and checked.

```python
with read_material(GivenMaterial(SecretText(text)), Expected(KeyFamily.RSA, 3072)) as material: ...
```

Accepted are PEM, base64 and hex of PKCS#8, PKCS#1 and SEC 1, of the encrypted forms that `encrypted.py` lists, and of
the raw octets of AES keys. `encodings.py` has the rules for texts whose encoding is not stated.

Invariants:
- Nothing is guessed where two keys are possible: a wrong key is lost data. Raw octets are a key only where AES is
  stated, and octets of an AES key that are a text of another AES key are refused unless the stated size decides.
- All bad material is InvalidRequestError with field `material`, in a sentence that repeats nothing of it.
- The work is bounded: 64 KiB of text, and less than some seconds of a core for passphrases and primes. Call this in a
  thread.
"""

from dataclasses import dataclass

from core.domain.key_kinds import AES_SIZES, CURVE_BITS, KeyFamily
from core.domain.secrets import SecretBytes, SecretText
from core.material import encodings, encrypted, refusals
from core.material.checking import check_size, checked, checked_octets
from core.material.der import is_sequence
from core.material.encodings import MaterialEncoding
from core.material.material import KeyMaterial
from core.material.pem import private_key
from core.material.private_keys import EcNumbers, Numbers, is_encrypted, numbers_of

__all__ = ["Expected", "GivenMaterial", "MaterialEncoding", "read_material", "read_octets", "read_unwrapped"]


@dataclass(frozen=True, slots=True)
class GivenMaterial:
    """Material as somebody gave it: a text, or a file as base64 of its content."""

    content: SecretText
    encoding: MaterialEncoding = MaterialEncoding.AUTO
    passphrase: SecretText | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """What the caller says that the key is; None says nothing. `size` is in bits, `curve` is Azure's name."""

    family: KeyFamily | None = None
    size: int | None = None
    curve: str | None = None


def read_octets(given: GivenMaterial) -> SecretBytes:
    """Decode the text of wrapped material, which is not a key yet; its errors are those of encodings."""
    choices = encodings.choices(given.content, given.encoding)
    octets = choices.octets if choices.nested is None else choices.nested
    if encodings.is_pem(octets):
        raise refusals.encoding_invalid("This is PEM; wrapped material comes as base64 or hex.")
    return SecretBytes(octets)


def read_material(given: GivenMaterial, expected: Expected) -> KeyMaterial:
    """Read and check a private or symmetric key. Every refusal of refusals.py is possible."""
    octets = _chosen(encodings.choices(given.content, given.encoding), expected)
    return _material(octets, given.passphrase or None, expected)


def read_unwrapped(octets: SecretBytes, expected: Expected) -> KeyMaterial:
    """Read and check what was unwrapped: PKCS#8, PKCS#1 or SEC 1 in DER, or the octets of an AES key."""
    content = octets.reveal()
    if is_encrypted(content) or encodings.is_pem(content):
        raise refusals.format_unsupported("PEM, or a key under a passphrase, inside of wrapped material")
    return _material(content, None, expected)


def _chosen(choices: encodings.Choices, expected: Expected) -> bytes:
    """Choose between octets and the octets that they stand for as a text."""
    octets, nested = choices.octets, choices.nested
    if nested is None:
        return octets
    if expected.family is not KeyFamily.AES or not _is_aes_size(octets):
        return nested
    of_size = [one for one in (octets, nested) if 8 * len(one) == expected.size]
    if expected.size is not None and not of_size:
        raise refusals.size_mismatch()
    if len(of_size) != 1:
        raise refusals.ambiguous(
            "These octets may be an AES key, or a text of one in hex or base64. Say the key's size, or give it in hex."
        )
    return of_size[0]


def _material(octets: bytes, passphrase: SecretText | None, expected: Expected) -> KeyMaterial:
    is_key_size = _is_aes_size(octets)
    if expected.family is KeyFamily.AES and (is_key_size or _is_bare(octets)):
        return _aes(octets, passphrase, expected)
    if expected.family is None and is_key_size:
        raise refusals.ambiguous("These octets may be an AES key, but nothing in them tells; the type must be stated.")
    opened, was_encrypted = _opened(octets, passphrase)
    numbers = numbers_of(opened)
    if passphrase is not None and not was_encrypted:
        raise refusals.passphrase_unexpected()
    _check_expected(numbers, expected)
    return checked(numbers)


def _aes(octets: bytes, passphrase: SecretText | None, expected: Expected) -> KeyMaterial:
    if passphrase is not None:
        raise refusals.passphrase_unexpected()
    if _is_aes_size(octets) and expected.size not in {None, 8 * len(octets)}:
        raise refusals.size_mismatch()
    return checked_octets(octets)


def _opened(octets: bytes, passphrase: SecretText | None) -> tuple[bytes, bool]:
    """Return the private key in DER without its PEM and its encryption, and whether it was encrypted."""
    content = octets
    if encodings.is_pem(octets):
        key = private_key(octets.decode(errors="replace"))
        if "ENCRYPTED" in key.headers.get("Proc-Type", ""):
            return encrypted.opened_traditional(key, _needed(passphrase)), True
        content = key.octets
    if is_encrypted(content):
        return encrypted.opened_pkcs8(content, _needed(passphrase)), True
    return content, False


def _needed(passphrase: SecretText | None) -> SecretText:
    if passphrase is None:
        raise refusals.passphrase_required()
    return passphrase


def _check_expected(numbers: Numbers, expected: Expected) -> None:
    is_ec = isinstance(numbers, EcNumbers)
    found = KeyFamily.EC if is_ec else KeyFamily.RSA
    stated = expected.family or (KeyFamily.EC if expected.curve is not None else found)
    if stated is not found:
        raise refusals.type_mismatch(found.value, stated.value)
    check_size(numbers)
    if isinstance(numbers, EcNumbers):
        if expected.curve not in {None, numbers.curve}:
            raise refusals.curve_mismatch()
        bits = CURVE_BITS[numbers.curve]
    else:
        bits = numbers.n.bit_length()
    if expected.size not in {None, bits}:
        raise refusals.size_mismatch()


def _is_aes_size(octets: bytes) -> bool:
    return 8 * len(octets) in AES_SIZES


def _is_bare(octets: bytes) -> bool:
    """Whether these are neither PEM nor DER, but octets for their own sake."""
    return not encodings.is_pem(octets) and not is_sequence(octets)
