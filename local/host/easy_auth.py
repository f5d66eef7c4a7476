"""App Service Authentication, in the mode that lets anonymous requests through.

Invariants: principal headers that a client sent never reach the app; the app sees such headers only for a token that
was verified (RS256 signature by the issuer's key set, issuer, audience, expiry). A bearer that is no JWT is none of the
platform's business and passes as anonymous.
"""

import asyncio
import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import aiohttp
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jws import extract_compact

from local.host.claims import principal_headers

_PREFIX = "x-ms-client-principal"
_JWT_PARTS = 3
_CACHE_SIZE = 1_000


class InvalidTokenError(Exception):
    """A JWT that does not verify."""


@dataclass(frozen=True)
class AuthOptions:
    """Issuer (its discovery document names the key set) and the audiences that are this app."""

    issuer: str
    audiences: frozenset[str]


class EasyAuth:
    """Turns the authorization header into the platform's principal headers."""

    def __init__(self, options: AuthOptions, session: aiohttp.ClientSession) -> None:
        self._options = options
        self._keys = _IssuerKeys(options.issuer, session)
        self._verified: OrderedDict[bytes, tuple[float, dict[str, str]]] = OrderedDict()

    async def apply(self, headers: dict[str, str]) -> None:
        """Replace the principal headers among `headers` (names in lower case), or raise InvalidTokenError."""
        for name in [name for name in headers if name.startswith(_PREFIX)]:
            del headers[name]
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token.count(".") == _JWT_PARTS - 1:
            headers.update(await self._principal(token.strip()))

    async def _principal(self, token: str) -> dict[str, str]:
        digest = hashlib.sha256(token.encode()).digest()
        expires_on, principal = self._verified.get(digest, (0.0, {}))
        if expires_on <= time.time():
            claims = await self._verify(token)
            expires_on, principal = float(claims["exp"]), principal_headers(claims)
            self._verified[digest] = (expires_on, principal)
            if len(self._verified) > _CACHE_SIZE:
                self._verified.popitem(last=False)
        return principal

    async def _verify(self, token: str) -> dict[str, Any]:
        try:
            kid = str(extract_compact(token.encode()).headers().get("kid"))
            verified = jwt.decode(token, await self._keys.holding(kid), algorithms=["RS256"])
            jwt.JWTClaimsRegistry(
                iss={"essential": True, "value": self._options.issuer},
                aud={"essential": True, "values": sorted(self._options.audiences)},
                exp={"essential": True},
            ).validate(verified.claims)
        except (JoseError, ValueError, TypeError, LookupError, aiohttp.ClientError) as error:
            raise InvalidTokenError(type(error).__name__) from error
        return verified.claims


class _IssuerKeys:
    """The issuer's key set; fetched once, and again for a key id that is not in it."""

    def __init__(self, issuer: str, session: aiohttp.ClientSession) -> None:
        self._discovery_url = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
        self._session = session
        self._keys = KeySet([])
        self._lock = asyncio.Lock()

    async def holding(self, kid: str) -> KeySet:
        """Return the key set, fresh if it did not hold `kid`."""
        async with self._lock:
            if kid not in {key.kid for key in self._keys.keys}:
                document = await self._get(self._discovery_url)
                self._keys = KeySet.import_key_set(await self._get(document["jwks_uri"]))
        return self._keys

    async def _get(self, url: str) -> Any:  # noqa: ANN401 - JSON
        async with self._session.get(url) as response:
            response.raise_for_status()
            return await response.json()
