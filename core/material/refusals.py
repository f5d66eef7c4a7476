"""Every refusal of key material, with its code, in one place.

Invariants: each sentence is ours and fixed, so none repeats input or a library's text; the field is always `material`.
"""

from core.errors import InvalidRequestError

_FIELD = "material"


def too_large() -> InvalidRequestError:
    """More text than a key can be."""
    return InvalidRequestError("A key's text has at most 64 KiB.", code="material_too_large", field=_FIELD)


def encoding_invalid(detail: str) -> InvalidRequestError:
    """Not the encoding that was stated, or none that is known."""
    return InvalidRequestError(detail, code="material_encoding_invalid", field=_FIELD)


def corrupt(detail: str = "This is no private key: it is damaged, cut off, or something else.") -> InvalidRequestError:
    """The encoding is right, but there is no key behind it."""
    return InvalidRequestError(detail, code="material_corrupt", field=_FIELD)


def type_mismatch(found: str, stated: str) -> InvalidRequestError:
    """The key is of another type than the one stated; both are names of ours."""
    detail = f"This is a key of type {found}; the request says {stated}."
    return InvalidRequestError(detail, code="material_type_mismatch", field=_FIELD)


def size_not_allowed(detail: str) -> InvalidRequestError:
    """No key of such a size is taken anywhere."""
    return InvalidRequestError(detail, code="material_size_not_allowed", field=_FIELD)


def size_mismatch() -> InvalidRequestError:
    """The key's size is another one than the one stated."""
    detail = "The key's size is not the one that the request says."
    return InvalidRequestError(detail, code="material_size_mismatch", field=_FIELD)


def curve_not_allowed(
    detail: str = "The key's curve is none of P-256, P-384, P-521 and P-256K.",
) -> InvalidRequestError:
    """No key on such a curve is taken anywhere."""
    return InvalidRequestError(detail, code="material_curve_not_allowed", field=_FIELD)


def curve_mismatch() -> InvalidRequestError:
    """The key's curve is another one than the one stated."""
    detail = "The key's curve is not the one that the request says."
    return InvalidRequestError(detail, code="material_curve_mismatch", field=_FIELD)


def kind_unsupported(what: str = "A key of this type") -> InvalidRequestError:
    """A private key, but neither RSA nor EC; `what` is a name of ours."""
    detail = f"{what} cannot be taken: keys are of type RSA, EC or AES."
    return InvalidRequestError(detail, code="material_kind_unsupported", field=_FIELD)


def format_unsupported(what: str) -> InvalidRequestError:
    """A known format that is not read; `what` names it."""
    detail = f"This is {what}, which is not read. Give the private key as PKCS#8, PKCS#1 or SEC 1, in PEM or DER."
    return InvalidRequestError(detail, code="material_format_unsupported", field=_FIELD)


def public_only() -> InvalidRequestError:
    """Only the public half."""
    detail = "This is a public key; the private key is needed."
    return InvalidRequestError(detail, code="material_public_only", field=_FIELD)


def certificate() -> InvalidRequestError:
    """A certificate, or a request for one, without the key."""
    detail = "This is a certificate or a certificate request; the private key that belongs to it is needed."
    return InvalidRequestError(detail, code="material_certificate", field=_FIELD)


def inconsistent(detail: str) -> InvalidRequestError:
    """The key parses, but its numbers do not belong together."""
    return InvalidRequestError(detail, code="material_inconsistent", field=_FIELD)


def exponent_not_allowed() -> InvalidRequestError:
    """An RSA key with a public exponent that vaults do not take."""
    detail = "The key's public exponent must be odd, at least 3 and less than 2^32."
    return InvalidRequestError(detail, code="material_exponent_not_allowed", field=_FIELD)


def weak(detail: str) -> InvalidRequestError:
    """A key that others can find out."""
    return InvalidRequestError(detail, code="material_weak", field=_FIELD)


def ambiguous(detail: str) -> InvalidRequestError:
    """More than one key, or more than one way to read it: nothing is guessed."""
    return InvalidRequestError(detail, code="material_ambiguous", field=_FIELD)


def passphrase_required() -> InvalidRequestError:
    """Encrypted, and no passphrase was given."""
    detail = "The key is encrypted; its passphrase is needed."
    return InvalidRequestError(detail, code="material_passphrase_required", field=_FIELD)


def passphrase_wrong() -> InvalidRequestError:
    """The passphrase does not open the key; damage looks the same."""
    detail = "The passphrase does not open the key: it is wrong, or the encrypted key is damaged."
    return InvalidRequestError(detail, code="material_passphrase_wrong", field=_FIELD)


def passphrase_unexpected() -> InvalidRequestError:
    """A passphrase was given, but nothing is encrypted."""
    detail = "A passphrase was given, but the key is not encrypted. Is it the right one?"
    return InvalidRequestError(detail, code="material_passphrase_unexpected", field=_FIELD)


def passphrase_too_costly() -> InvalidRequestError:
    """Deriving the key from the passphrase would take too long or too much memory."""
    detail = (
        "Opening the encrypted key takes more work than is allowed: at most 5,000,000 iterations of PBKDF2, 500,000 of "
        "PBES1, or scrypt with 128 MiB. Encrypt it anew with less."
    )
    return InvalidRequestError(detail, code="material_passphrase_too_costly", field=_FIELD)
