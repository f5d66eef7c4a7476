"""The keys that protect backups: one RSA key a subscription and geography, one symmetric key a security domain.

A backup must outlive the vault that made it, and the emulator that ran the vault, so the keys are derived from
what they stand for instead of being stored. Whoever reads this module can derive them: they guard toy data.
"""

import asyncio
import hashlib
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from itertools import count

from cryptography.hazmat.primitives.asymmetric import rsa

_EXPONENT = 65537
_PRIME_OCTETS = 128
_FERMAT_BASES = (2, 3, 5, 7, 11, 13, 17, 19)
_SIEVE_LIMIT = 20_000
_NAMESPACE = uuid.UUID("8a5c1a43-4dd0-4e6f-9d53-0b6f6e5f3a10")

_derivations: dict[str, Future[rsa.RSAPrivateKey]] = {}
_deriver = ThreadPoolExecutor(1, thread_name_prefix="region-key")


def region_key_id(subscription_id: str, geography: str) -> str:
    """Return the id of the key that protects the backups of a subscription's vaults in a geography."""
    return str(uuid.uuid5(_NAMESPACE, f"{subscription_id}|{geography}".lower()))


async def region_key(subscription_id: str, geography: str) -> rsa.RSAPrivateKey:
    """Return that key; deriving it for the first call takes some tenths of a second, on a thread."""
    region = f"{subscription_id}|{geography}".lower()
    derivation = _derivations.get(region)
    if derivation is None:
        derivation = _derivations[region] = _deriver.submit(_derive, region)
    return derivation.result() if derivation.done() else await asyncio.wrap_future(derivation)


@cache
def domain_key(security_domain: str) -> bytes:
    """Return the 64 octets that protect the backups of the HSMs of a security domain."""
    return hashlib.sha512(f"security-domain|{security_domain}".encode()).digest()


def _derive(region: str) -> rsa.RSAPrivateKey:
    primes = _primes(region)
    p, q = next(primes), next(primes)
    d = pow(_EXPONENT, -1, (p - 1) * (q - 1))
    dp, dq, qi = rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q)
    return rsa.RSAPrivateNumbers(p, q, d, dp, dq, qi, rsa.RSAPublicNumbers(_EXPONENT, p * q)).private_key()


def _primes(seed: str) -> Iterator[int]:
    sieve = _small_primes()
    for index in count():
        octets = hashlib.shake_256(f"region|{seed}|{index}".encode()).digest(_PRIME_OCTETS)
        # Both top bits: the product of two such primes has its full length.
        candidate = int.from_bytes(octets, "big") | (3 << (8 * _PRIME_OCTETS - 2)) | 1
        if candidate % _EXPONENT == 1 or any(candidate % prime == 0 for prime in sieve):
            continue
        if all(pow(base, candidate - 1, candidate) == 1 for base in _FERMAT_BASES):
            yield candidate


def _small_primes() -> list[int]:
    flags = bytearray([1]) * _SIEVE_LIMIT
    for number in range(2, int(_SIEVE_LIMIT**0.5) + 1):
        if flags[number]:
            flags[number * number :: number] = bytes(len(range(number * number, _SIEVE_LIMIT, number)))
    return [number for number in range(3, _SIEVE_LIMIT) if flags[number]]
