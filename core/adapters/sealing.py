"""Sealed objects: compact JWE (RFC 7516), one fresh content key each, wrapped under the account's data key.

    sealed = await sealer.seal(Binding(account, ESCROW, key, generation), content)
    content = await sealer.open(Binding(account, ESCROW, key, generation), sealed)

Invariants:
- `alg` is A256KW and `enc` is A256GCM, always. A256KW has no nonce, so the number of objects under one data key is
  not limited by it; the GCM key is used once.
- The protected header is exactly alg, enc, kid (the data key's id) and the four members of the binding. It is the
  associated data of the encryption (RFC 7516 section 5.1, step 14), so an object opens only where it belongs.
- Nothing of an object is believed before its header equals the one that is expected.
- An error holds neither content nor sealed text.
"""

from datetime import timedelta

from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.registry import HeaderParameter
from joserfc.util import json_b64decode

from core.adapters.data_keys import CachedDataKeys
from core.domain.accounts import Account
from core.domain.secrets import SecretBytes
from core.errors import IntegrityError, NotFoundError
from core.ports import Binding, Clock, Collection
from core.timed_cache import TimedCache

_ALGORITHM = "A256KW"
_ENCRYPTION = "A256GCM"
_BINDING = ("account", "purpose", "object_id", "version")
_ACTIVE_LIFETIME = timedelta(minutes=10)
_ACTIVE_LIMIT = 10_000


class _Registry(jwe.JWERegistry):
    """Only our algorithms; sizes for a backup of 500 versions of an RSA key, which is some megabytes."""

    max_protected_header_length = 4_096
    max_ciphertext_length = 64 * 1024 * 1024


_REGISTRY = _Registry(
    header_registry={name: HeaderParameter("Binding", "str", required=True) for name in _BINDING},
    algorithms=[_ALGORITHM, _ENCRYPTION],
)


class JweSealer:
    """Seals under the data key that the account's row names; opens under the one that the object names."""

    def __init__(self, data_keys: CachedDataKeys, accounts: Collection[Account], clock: Clock) -> None:
        self._data_keys = data_keys
        self._accounts = accounts
        self._active: TimedCache[str, str] = TimedCache(clock, _ACTIVE_LIFETIME, _ACTIVE_LIMIT)

    async def seal(self, binding: Binding, content: SecretBytes) -> str:
        """Return a compact JWE; NotFoundError `account_not_found` for an account without a row."""
        data_key_id = await self._active.get(binding.account, lambda: self._active_data_key(binding.account))
        data_key = await self._data_keys.unwrapped(binding.account, data_key_id)
        return jwe.encrypt_compact(_header(binding, data_key_id), content.reveal(), data_key, registry=_REGISTRY)

    async def open(self, binding: Binding, sealed: str) -> SecretBytes:
        """Return the content.

        IntegrityError: `sealed_object_altered`, `sealed_object_misplaced` (sealed for another binding), or
        `data_key_unavailable`.
        """
        header = _unverified_header(sealed)
        _require_expected(header, binding)
        data_key = await self._data_keys.unwrapped(binding.account, header["kid"])
        try:
            opened = jwe.decrypt_compact(sealed, data_key, registry=_REGISTRY)
        except (JoseError, ValueError) as error:
            raise _altered() from error
        if opened.protected != header or opened.plaintext is None:
            raise _altered()
        return SecretBytes(opened.plaintext)

    async def _active_data_key(self, account: str) -> str:
        stored = await self._accounts.get("account", account)
        if stored is None:
            raise NotFoundError("There is no such account.", code="account_not_found")
        return stored.value.data_key


def _header(binding: Binding, data_key: str) -> dict[str, str]:
    bound = {name: getattr(binding, name) for name in _BINDING}
    return {"alg": _ALGORITHM, "enc": _ENCRYPTION, "kid": data_key, **bound}


def _unverified_header(sealed: str) -> dict[str, str]:
    try:
        header = json_b64decode(sealed.partition(".")[0].encode())
    except (ValueError, TypeError, RecursionError) as error:
        raise _altered() from error
    if not isinstance(header, dict) or not all(isinstance(value, str) for value in header.values()):
        raise _altered()
    return header


def _require_expected(header: dict[str, str], binding: Binding) -> None:
    expected = _header(binding, header.get("kid", ""))
    if header.keys() != expected.keys() or any(header[name] != expected[name] for name in ("alg", "enc")):
        raise _altered()
    if header != expected:
        raise IntegrityError(
            "A sealed object is not where it belongs: it was sealed for another account, object or purpose.",
            code="sealed_object_misplaced",
            facts={"object": binding.object_id, "purpose": binding.purpose},
        )


def _altered() -> IntegrityError:
    return IntegrityError("A sealed object is not what was sealed.", code="sealed_object_altered")
