"""Signing and verification of the tokens of the emulated Entra.

Invariants:
- Tokens are RS256 JWTs, signed with a key that lives as long as the world's data.
- `verify` checks signature, issuer, tenant, audience, `nbf` and `exp`. The signature of a token is checked once; what
  depends on the time or on the caller's demands is checked on every call.
- Only issuers of this Entra are accepted: v1 tokens name `https://sts.windows.net/{tenant}/`, as Azure's do, and v2
  tokens `{entra_url}/{tenant}/v2.0`.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal

from joserfc import jwt
from joserfc.errors import BadSignatureError, JoseError
from joserfc.jwk import RSAKey

from local.emulator.clock import Clock

type Claims = dict[str, Any]
type TokenErrorReason = Literal["missing", "malformed", "bad_signature", "bad_audience", "bad_issuer", "expired"]

V1_ISSUER = "https://sts.windows.net/{tenant_id}/"
LIFETIME_SECONDS = 3599
_CACHE_SIZE = 10_000
_CLOCK_SKEW_SECONDS = 300


class TokenError(Exception):
    """An access token was refused; `found_audience` is its audience where that was the reason."""

    def __init__(self, reason: TokenErrorReason, found_audience: str | None = None) -> None:
        super().__init__(reason)
        self.reason: TokenErrorReason = reason
        self.found_audience = found_audience


@dataclass(frozen=True)
class VerifiedToken:
    """An access token that was verified. `expires_on` is in seconds since 1970."""

    tenant_id: str
    object_id: str
    client_id: str
    audience: str
    expires_on: float
    claims: Claims


class SigningKey:
    """An RSA-2048 key pair that signs JWTs; its id is the thumbprint of the public key."""

    def __init__(self, private_pem: str | None = None) -> None:
        self._key = RSAKey.import_key(private_pem) if private_pem else RSAKey.generate_key(2048)
        self.key_id = self._key.thumbprint()

    def private_pem(self) -> str:
        """Return the private key for the emulator's own state file."""
        return self._key.as_pem(private=True).decode()

    def public_jwk(self) -> dict[str, Any]:
        """Return the public key as an entry of a JWKS."""
        return {"use": "sig", "alg": "RS256", "kid": self.key_id} | dict(self._key.as_dict(private=False))

    def sign(self, claims: Claims) -> str:
        """Return `claims` as a signed JWT."""
        return jwt.encode({"typ": "JWT", "alg": "RS256", "kid": self.key_id}, claims, self._key)

    def signed_claims(self, token: str) -> Claims:
        """Return the claims of a JWT whose signature holds, whatever they say; raises `TokenError`."""
        try:
            return jwt.decode(token, self._key, algorithms=["RS256"]).claims
        except BadSignatureError as error:
            raise TokenError("bad_signature") from error
        except (JoseError, ValueError) as error:
            raise TokenError("malformed") from error


class TokenAuthority:
    """Entra's signing key, the workload issuer's signing key, and the verification of access tokens."""

    def __init__(self, clock: Clock, entra_url: Callable[[], str]) -> None:
        self._clock = clock
        self._entra_url = entra_url
        self._signed: dict[str, Claims] = {}
        self.use_keys(SigningKey(), SigningKey())

    def use_keys(self, entra: SigningKey, workload: SigningKey) -> None:
        """Sign and verify with these keys from now on."""
        self.entra_key = entra
        self.workload_key = workload
        self._signed.clear()

    def issue(self, claims: Claims) -> str:
        """Return an access token of Entra with these claims, valid from now for an hour."""
        now = int(self._clock.token_now())
        return self.entra_key.sign({"iat": now, "nbf": now, "exp": now + LIFETIME_SECONDS} | claims)

    def verify(
        self, authorization_header: str | None, *, audiences: Collection[str], tenant_id: str | None
    ) -> VerifiedToken:
        """Return the bearer token of a request when it is good for one of `audiences`; raises `TokenError`.

        `tenant_id` is the tenant that must have issued it, None any tenant. A trailing slash of an audience is ignored.
        """
        claims = self._signed_claims(authorization_header)
        audience, issuing_tenant = str(claims.get("aud", "")), str(claims.get("tid", ""))
        if claims.get("iss") not in self._issuers(issuing_tenant) or tenant_id not in (None, issuing_tenant):
            raise TokenError("bad_issuer")
        if audience.rstrip("/") not in audiences:
            raise TokenError("bad_audience", audience)
        now = self._clock.token_now()
        if not claims.get("nbf", 0) - _CLOCK_SKEW_SECONDS <= now < claims.get("exp", 0):
            raise TokenError("expired")
        return VerifiedToken(
            tenant_id=issuing_tenant,
            object_id=str(claims.get("oid", "")),
            client_id=str(claims.get("appid", claims.get("azp", ""))),
            audience=audience,
            expires_on=float(claims["exp"]),
            claims=claims,
        )

    def _issuers(self, tenant_id: str) -> tuple[str, str]:
        return V1_ISSUER.format(tenant_id=tenant_id), f"{self._entra_url()}/{tenant_id}/v2.0"

    def _signed_claims(self, authorization_header: str | None) -> Claims:
        if not authorization_header:
            raise TokenError("missing")
        known = self._signed.get(authorization_header)
        if known is not None:
            return known
        scheme, _, token = authorization_header.partition(" ")
        if scheme.lower() != "bearer":
            raise TokenError("missing")
        claims = self.entra_key.signed_claims(token.strip())
        if len(self._signed) >= _CACHE_SIZE:
            self._signed.clear()
        self._signed[authorization_header] = claims
        return claims
