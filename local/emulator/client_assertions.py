"""Client assertions: JWTs that stand in for a client secret.

An assertion that names the application itself as issuer is signed with one of its certificates. Any other is a
federated one, from an issuer whose keys this emulator holds: its workload issuer or its own Entra (a managed identity).
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.padding import AsymmetricPadding

from local.emulator import entra_errors
from local.emulator.tokens import Claims, TokenError
from local.emulator.world import Principal, Tenant, World

WORKLOAD_ISSUER_PATH = "/workload"
_CLOCK_SKEW_SECONDS = 300
_PADDINGS: Mapping[str, AsymmetricPadding] = {
    "RS256": padding.PKCS1v15(),
    "PS256": padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH),
}


def verify_assertion(world: World, tenant: Tenant, application: Principal, assertion: str) -> None:
    """Return when the assertion authenticates the application; raises `EntraError`."""
    unverified_header, unverified_claims = _unverified(assertion)
    if unverified_claims.get("iss") == application.client_id:
        _verify_certificate_assertion(world, application, assertion, unverified_header)
        allowed = (f"{world.entra_url}/{tenant.id}/", f"{world.entra_url}/{tenant.domain}/")
        if not str(unverified_claims.get("aud", "")).startswith(allowed):
            raise entra_errors.wrong_assertion_audience()
    else:
        _verify_federated_assertion(world, application, assertion, unverified_claims)
    _check_times(unverified_claims, world.clock.token_now())


def _unverified(assertion: str) -> tuple[dict[str, Any], Claims]:
    try:
        header, claims = (json.loads(_decoded(part)) for part in assertion.split(".")[:2])
    except ValueError as error:
        raise entra_errors.malformed_assertion() from error
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise entra_errors.malformed_assertion()
    return header, claims


def _verify_certificate_assertion(
    world: World, application: Principal, assertion: str, unverified_header: dict[str, Any]
) -> None:
    certificate = _registered_certificate(application, unverified_header)
    signed, _, signature = assertion.rpartition(".")
    key, scheme = certificate.public_key(), _PADDINGS.get(str(unverified_header.get("alg")))
    if scheme is None or not isinstance(key, rsa.RSAPublicKey):
        raise entra_errors.bad_assertion_signature()
    try:
        key.verify(_decoded(signature), signed.encode(), scheme, hashes.SHA256())
    except (InvalidSignature, ValueError) as error:
        raise entra_errors.bad_assertion_signature() from error
    now = world.clock.token_now()
    valid_from, valid_to = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not valid_from.timestamp() <= now < valid_to.timestamp():
        raise entra_errors.expired_certificate()


def _registered_certificate(application: Principal, header: dict[str, Any]) -> x509.Certificate:
    # Some clients pad the thumbprint, against RFC 7515.
    presented = str(header.get("x5t#S256") or header.get("x5t")).rstrip("=")
    for encoded in application.certificates:
        der = base64.b64decode(encoded)
        sha1 = hashlib.sha1(der).digest()  # noqa: S324 - x5t is a SHA-1 thumbprint by its definition
        if presented in (_base64url(sha1), _base64url(hashlib.sha256(der).digest())):
            return x509.load_der_x509_certificate(der)
    raise entra_errors.unregistered_certificate(presented)


def _verify_federated_assertion(world: World, application: Principal, assertion: str, claims: Claims) -> None:
    candidates = application.federated
    for member in ("issuer", "subject", "audience"):
        presented = str(claims.get({"issuer": "iss", "subject": "sub", "audience": "aud"}[member], ""))
        candidates = [known for known in candidates if getattr(known, member) == presented]
        if not candidates:
            raise entra_errors.no_federated_record(member, presented)
    is_workload = claims["iss"] == f"{world.entra_url}{WORKLOAD_ISSUER_PATH}"
    key = world.tokens.workload_key if is_workload else world.tokens.entra_key
    try:
        key.signed_claims(assertion)
    except TokenError as error:
        raise entra_errors.bad_assertion_signature() from error


def _check_times(claims: Claims, now: float) -> None:
    try:
        begins, ends = float(claims.get("nbf") or claims.get("iat") or 0), float(claims["exp"])
    except (KeyError, TypeError, ValueError) as error:
        raise entra_errors.malformed_assertion() from error
    if not begins - _CLOCK_SKEW_SECONDS <= now < ends + _CLOCK_SKEW_SECONDS:
        raise entra_errors.assertion_out_of_time()


def _decoded(part: str) -> bytes:
    # The asynchronous SDK pads the parts of its assertion and signs them so, against RFC 7515; Entra takes it.
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
