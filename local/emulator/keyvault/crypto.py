"""Encrypt, decrypt, sign, verify, wrap and unwrap, and who may be used for them when.

Rules, checked in this order: the operation must be among the version's `key_ops`; a disabled version may still
encrypt, wrap and verify; a version outside its dates may still decrypt, unwrap and verify. The answer of a
Managed HSM repeats the algorithm.
"""

from collections.abc import Callable, Mapping
from typing import Any

from local.emulator.keyvault import asymmetric, bundles, symmetric
from local.emulator.keyvault.algorithms import Check, CryptoError, Inputs, Transform
from local.emulator.keyvault.calls import Call
from local.emulator.keyvault.encoding import from_base64url, to_base64url
from local.emulator.keyvault.errors import bad_parameter, forbidden
from local.emulator.keyvault.kinds import is_hsm
from local.emulator.keyvault.model import KeyVersion

_REFUSED_WHEN_DISABLED = frozenset({"decrypt", "sign", "unwrapKey"})
_REFUSED_OUTSIDE_DATES = frozenset({"encrypt", "sign", "wrapKey"})

_ENCRYPT: Mapping[str, Transform] = {**asymmetric.ENCRYPT, **symmetric.ENCRYPT}
_DECRYPT: Mapping[str, Transform] = {**asymmetric.DECRYPT, **symmetric.DECRYPT}
_WRAP: Mapping[str, Transform] = {**asymmetric.ENCRYPT, **symmetric.WRAP}
_UNWRAP: Mapping[str, Transform] = {**asymmetric.DECRYPT, **symmetric.UNWRAP}
_SIGN: Mapping[str, Transform] = {**asymmetric.SIGN, **symmetric.SIGN}
_VERIFY: Mapping[str, Check] = {**asymmetric.VERIFY, **symmetric.VERIFY}


async def encrypt(call: Call) -> dict[str, Any]:
    """Encrypt `value`; an iv is made when the algorithm needs one and none is given."""
    return _transform(call, "encrypt", _ENCRYPT)


async def decrypt(call: Call) -> dict[str, Any]:
    """Decrypt `value`."""
    return _transform(call, "decrypt", _DECRYPT)


async def wrap_key(call: Call) -> dict[str, Any]:
    """Wrap the key in `value`."""
    return _transform(call, "wrapKey", _WRAP)


async def unwrap_key(call: Call) -> dict[str, Any]:
    """Unwrap the key in `value`."""
    return _transform(call, "unwrapKey", _UNWRAP)


async def sign(call: Call) -> dict[str, Any]:
    """Sign the digest in `value`."""
    return _transform(call, "sign", _SIGN)


async def verify(call: Call) -> dict[str, Any]:
    """Say whether `value` is a signature of `digest`."""
    _, version = call.live_version()
    check_usable(version, "verify", call.now)
    check = _algorithm(call, _VERIFY)
    digest, signature = _octets(call, "digest"), _octets(call, "value")
    return {"value": _guarded(lambda: check(version.material, digest, signature))}


def check_usable(version: KeyVersion, operation: str, now: float) -> None:
    """Raise `Forbidden` unless the version may be used for `operation` at `now`."""
    if operation not in version.key_ops:
        raise forbidden(f"Operation {operation} is not permitted on this key.", "KeyOperationForbidden")
    if not version.enabled and operation in _REFUSED_WHEN_DISABLED:
        raise forbidden(f"Operation {operation} is not allowed on a disabled key.", "KeyDisabled")
    if operation not in _REFUSED_OUTSIDE_DATES:
        return
    if version.not_before is not None and now < version.not_before:
        raise forbidden(f"Operation {operation} is not allowed on a key that is not yet valid.", "KeyNotYetValid")
    if version.expires_on is not None and now >= version.expires_on:
        raise forbidden(f"Operation {operation} is not allowed on an expired key.", "KeyExpired")


def _transform(call: Call, operation: str, table: Mapping[str, Transform]) -> dict[str, Any]:
    key, version = call.live_version()
    check_usable(version, operation, call.now)
    transform = _algorithm(call, table)
    inputs = Inputs(_octets(call, "value"), *(_optional_octets(call, name) for name in ("iv", "tag", "aad")))
    results = _guarded(lambda: transform(version.material, inputs))
    answer: dict[str, Any] = {"kid": bundles.key_id(call.vault, key.name, version.id)}
    answer |= {name: to_base64url(octets) for name, octets in results.items()}
    if is_hsm(call.vault):
        answer["alg"] = call.body["alg"]
    return answer


def _algorithm[T](call: Call, table: Mapping[str, T]) -> T:
    name = call.body.get("alg")
    found = table.get(name) if isinstance(name, str) else None
    if found is None:
        raise bad_parameter("The algorithm is missing or not supported for this operation.")
    return found


def _guarded[T](compute: Callable[[], T]) -> T:
    try:
        return compute()
    except CryptoError as error:
        raise bad_parameter(str(error)) from error


def _octets(call: Call, name: str) -> bytes:
    text = call.body.get(name)
    if not isinstance(text, str):
        raise bad_parameter(f"The property {name} is missing.")
    try:
        return from_base64url(text)
    except ValueError as error:
        raise bad_parameter(f"The property {name} is not base64url.") from error


def _optional_octets(call: Call, name: str) -> bytes:
    return _octets(call, name) if call.body.get(name) is not None else b""
