"""Secure key release: an exportable key leaves, wrapped for an environment that its attestation speaks for.

The attestation is a JWS whose header carries the public key that signed it, because the emulator can ask no
attestation service for keys. Everything else is checked as by the service: signature, expiry, issuer and
claims against the release policy, and the environment's RSA key inside the attestation.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey
from joserfc.jws import JWSRegistry

from local.emulator.keyvault import bundles
from local.emulator.keyvault.calls import Call
from local.emulator.keyvault.encoding import from_base64url, integer_from_base64url, to_base64url
from local.emulator.keyvault.errors import KeyVaultError, bad_parameter, forbidden
from local.emulator.keyvault.identity_keys import release_identity
from local.emulator.keyvault.model import Key, KeyVersion, ReleasePolicy

_DEFAULT_ENCRYPTION = "CKM_RSA_AES_KEY_WRAP"
_HASHES: Mapping[str, hashes.HashAlgorithm] = {
    _DEFAULT_ENCRYPTION: hashes.SHA1(),  # noqa: S303 - what the algorithm's name means
    "RSA_AES_KEY_WRAP_256": hashes.SHA256(),
    "RSA_AES_KEY_WRAP_384": hashes.SHA384(),
}
_MINIMUM_RSA_BITS = 2048
_ONE_TIME_KEY_OCTETS = 32
_SIGNATURES = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]


class _Attestations(JWSRegistry):
    """Headers of attestations carry keys and certificates, more than the library lets a header be long."""

    max_header_length = 16 * 1024


async def release_key(call: Call) -> dict[str, Any]:
    """Return a version's material, wrapped, inside a JWS signed by the service."""
    key, version = call.live_version()
    if not version.exportable or version.release_policy is None:
        raise forbidden("The key is not exportable.", "AccessDenied")
    if not version.enabled:
        raise forbidden("Operation release is not allowed on a disabled key.", "KeyDisabled")
    encryption = call.body.get("enc") or _DEFAULT_ENCRYPTION
    algorithm = _HASHES.get(encryption) if isinstance(encryption, str) else None
    if algorithm is None:
        raise bad_parameter("The encryption algorithm of the release is not supported.")
    claims = _attested_claims(call)
    if not _permits(version.release_policy, claims):
        raise _unverified()
    environment_key, environment_kid = _environment_key(claims)
    sealed = _wrap(version, environment_key, algorithm)
    header = {"kid": environment_kid, "alg": "dir", "enc": encryption}
    blob = {"schema_version": "1.0", "header": header, "ciphertext": to_base64url(sealed)}
    return {"value": release_identity().sign(_statement(call, key, version, blob))}


def _statement(call: Call, key: Key, version: KeyVersion, blob: dict[str, Any]) -> dict[str, Any]:
    bundle = bundles.key_bundle(call.vault, key.name, version)
    bundle["key"]["key_hsm"] = to_base64url(json.dumps(blob, separators=(",", ":")).encode())
    request = {
        "api-version": call.query.get("api-version", ""),
        "enc": blob["header"]["enc"],
        "kid": bundles.key_id(call.vault, key.name, call.version or None),
    }
    if isinstance(call.body.get("nonce"), str):
        request["nonce"] = call.body["nonce"]
    return {"request": request, "response": {"key": bundle}}


def _attested_claims(call: Call) -> dict[str, Any]:
    target = call.body.get("target")
    if not isinstance(target, str) or not target:
        raise bad_parameter("The target of the release is missing.")
    try:
        header = json.loads(from_base64url(target.split(".")[0]))
        public = header["jwk"]
        signer = ECKey.import_key(public) if public.get("kty") == "EC" else RSAKey.import_key(public)
        claims = jwt.decode(target, signer, registry=_Attestations(algorithms=_SIGNATURES)).claims
    except (ValueError, KeyError, TypeError, AttributeError, JoseError) as error:
        raise _unverified() from error
    expires_on = claims.get("exp")
    if not isinstance(expires_on, int | float) or call.world.clock.token_now() >= expires_on:
        raise _unverified()
    return claims


def _permits(policy: ReleasePolicy, claims: dict[str, Any]) -> bool:
    try:
        rules = json.loads(from_base64url(policy.data))["anyOf"]
        return any(_authority_permits(rule, claims) for rule in rules)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise bad_parameter("The release policy of the key is not valid.") from error


def _authority_permits(rule: dict[str, Any], claims: dict[str, Any]) -> bool:
    authority, issuer = str(rule["authority"]).rstrip("/"), str(claims.get("iss", "")).rstrip("/")
    return authority == issuer and _condition_holds(rule, claims)


def _condition_holds(rule: dict[str, Any], claims: dict[str, Any]) -> bool:
    if "claim" in rule:
        return _texts_equal(_claim(claims, rule["claim"]), rule["equals"])
    if "allOf" in rule:
        return all(_condition_holds(item, claims) for item in rule["allOf"])
    return any(_condition_holds(item, claims) for item in rule["anyOf"])


def _claim(claims: dict[str, Any], path: str) -> object:
    value: object = claims.get(path)
    if value is not None:
        return value
    value = claims
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _texts_equal(claim: object, expected: object) -> bool:
    # A policy writes booleans as text: "true" permits the claim true.
    if isinstance(claim, bool):
        return str(claim).lower() == str(expected).lower()
    return claim is not None and str(claim) == str(expected)


def _environment_key(claims: dict[str, Any]) -> tuple[rsa.RSAPublicKey, str]:
    runtime = claims.get("x-ms-runtime")
    keys = runtime.get("keys") if isinstance(runtime, dict) else None
    for item in keys if isinstance(keys, list) else []:
        if not isinstance(item, dict) or item.get("kty") != "RSA":
            continue
        try:
            n, e = integer_from_base64url(item["n"]), integer_from_base64url(item["e"])
            public = rsa.RSAPublicNumbers(e, n).public_key()
        except (ValueError, KeyError, TypeError) as error:
            raise _unverified() from error
        if public.key_size >= _MINIMUM_RSA_BITS:
            return public, str(item.get("kid", ""))
    raise _unverified()


def _wrap(version: KeyVersion, environment_key: rsa.RSAPublicKey, algorithm: hashes.HashAlgorithm) -> bytes:
    one_time_key = os.urandom(_ONE_TIME_KEY_OCTETS)
    scheme = padding.OAEP(padding.MGF1(algorithm), algorithm, None)
    wrapped = aes_key_wrap_with_padding(one_time_key, version.material.private)
    return environment_key.encrypt(one_time_key, scheme) + wrapped


def _unverified() -> KeyVaultError:
    return forbidden("Target environment attestation statement cannot be verified.", "AccessDenied")
