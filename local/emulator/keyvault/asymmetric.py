"""RSA and ECDSA algorithms, by their wire names. Signatures are over digests; ECDSA ones are r || s."""

from collections.abc import Mapping
from functools import partial

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils

from local.emulator.keyvault.algorithms import Check, CryptoError, Inputs, Transform, require_family
from local.emulator.keyvault.material import Material

_SHA = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
_ECDSA = {
    "ES256": ("P-256", _SHA["256"]),
    "ES384": ("P-384", _SHA["384"]),
    "ES512": ("P-521", _SHA["512"]),
    "ES256K": ("P-256K", _SHA["256"]),
}


def _oaep(digest: hashes.HashAlgorithm) -> padding.OAEP:
    return padding.OAEP(padding.MGF1(digest), digest, None)


_ENCRYPTION_PADDINGS: Mapping[str, padding.AsymmetricPadding] = {
    "RSA1_5": padding.PKCS1v15(),
    "RSA-OAEP": _oaep(hashes.SHA1()),  # noqa: S303 - what the algorithm's name means
    "RSA-OAEP-256": _oaep(_SHA["256"]),
}


def _encrypt(scheme: padding.AsymmetricPadding, material: Material, inputs: Inputs) -> Mapping[str, bytes]:
    require_family(material, "RSA")
    try:
        return {"value": material.rsa_key.public_key().encrypt(inputs.value, scheme)}
    except ValueError as error:
        raise CryptoError("The value is too long for the key.") from error


def _decrypt(scheme: padding.AsymmetricPadding, material: Material, inputs: Inputs) -> Mapping[str, bytes]:
    require_family(material, "RSA")
    try:
        return {"value": material.rsa_key.decrypt(inputs.value, scheme)}
    except ValueError as error:
        raise CryptoError("The value cannot be decrypted with this key.") from error


def _check_digest(digest: bytes, algorithm: hashes.HashAlgorithm) -> None:
    if len(digest) != algorithm.digest_size:
        raise CryptoError(f"The digest must have {algorithm.digest_size} octets.")


def _sign_rsa(
    scheme: padding.AsymmetricPadding, algorithm: hashes.HashAlgorithm, material: Material, inputs: Inputs
) -> Mapping[str, bytes]:
    require_family(material, "RSA")
    _check_digest(inputs.value, algorithm)
    return {"value": material.rsa_key.sign(inputs.value, scheme, utils.Prehashed(algorithm))}


def _verify_rsa(
    scheme: padding.AsymmetricPadding,
    algorithm: hashes.HashAlgorithm,
    material: Material,
    digest: bytes,
    signature: bytes,
) -> bool:
    require_family(material, "RSA")
    _check_digest(digest, algorithm)
    try:
        material.rsa_key.public_key().verify(signature, digest, scheme, utils.Prehashed(algorithm))
    except InvalidSignature:
        return False
    return True


def _sign_ec(curve: str, algorithm: hashes.HashAlgorithm, material: Material, inputs: Inputs) -> Mapping[str, bytes]:
    _check_curve(material, curve)
    _check_digest(inputs.value, algorithm)
    signature = material.ec_key.sign(inputs.value, ec.ECDSA(utils.Prehashed(algorithm)))
    r, s = utils.decode_dss_signature(signature)
    width = (material.size + 7) // 8
    return {"value": r.to_bytes(width, "big") + s.to_bytes(width, "big")}


def _verify_ec(
    curve: str, algorithm: hashes.HashAlgorithm, material: Material, digest: bytes, signature: bytes
) -> bool:
    _check_curve(material, curve)
    _check_digest(digest, algorithm)
    width = (material.size + 7) // 8
    if len(signature) != 2 * width:
        return False
    r, s = int.from_bytes(signature[:width], "big"), int.from_bytes(signature[width:], "big")
    try:
        encoded = utils.encode_dss_signature(r, s)
        material.ec_key.public_key().verify(encoded, digest, ec.ECDSA(utils.Prehashed(algorithm)))
    except InvalidSignature:
        return False
    return True


def _check_curve(material: Material, curve: str) -> None:
    require_family(material, "EC")
    if material.curve != curve:
        raise CryptoError(f"The algorithm is not supported by keys on the curve {material.curve}.")


def _signature_schemes() -> Mapping[str, tuple[padding.AsymmetricPadding, hashes.HashAlgorithm]]:
    schemes: dict[str, tuple[padding.AsymmetricPadding, hashes.HashAlgorithm]] = {}
    for bits, algorithm in _SHA.items():
        schemes[f"RS{bits}"] = padding.PKCS1v15(), algorithm
        schemes[f"PS{bits}"] = padding.PSS(padding.MGF1(algorithm), algorithm.digest_size), algorithm
    return schemes


_RSA_SIGNATURES = _signature_schemes()

ENCRYPT: Mapping[str, Transform] = {name: partial(_encrypt, scheme) for name, scheme in _ENCRYPTION_PADDINGS.items()}
DECRYPT: Mapping[str, Transform] = {name: partial(_decrypt, scheme) for name, scheme in _ENCRYPTION_PADDINGS.items()}
SIGN: Mapping[str, Transform] = {
    **{name: partial(_sign_rsa, *scheme) for name, scheme in _RSA_SIGNATURES.items()},
    **{name: partial(_sign_ec, *scheme) for name, scheme in _ECDSA.items()},
}
VERIFY: Mapping[str, Check] = {
    **{name: partial(_verify_rsa, *scheme) for name, scheme in _RSA_SIGNATURES.items()},
    **{name: partial(_verify_ec, *scheme) for name, scheme in _ECDSA.items()},
}
