"""Sealed objects open where they belong and as they were sealed, or not at all."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwe
from joserfc.jwk import OctKey

from core.adapters.data_key_records import BlobDataKeyRecords
from core.adapters.data_keys import CachedDataKeys
from core.domain.data_keys import WrappedDataKey
from core.domain.sealing import CLIENT_SECRET, ESCROW
from core.domain.secrets import SecretBytes
from core.errors import IntegrityError, NotFoundError
from core.ports import Binding, Stored
from tests.fakes.clock import SteppedClock
from tests.fakes.sealing import Sealing, sealing

BINDING = Binding("acc_a", ESCROW, "key_1", "esc_1")
CONTENT = b"the vault's backup of a key"


async def a_sealing() -> Sealing:
    made = sealing(SteppedClock())
    for account in ("acc_a", "acc_b"):
        await made.add_account(account)
    return made


def header_of(sealed: str) -> dict[str, str]:
    segment = sealed.split(".", maxsplit=1)[0]
    header: dict[str, str] = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    return header


def with_header(sealed: str, **changes: str) -> str:
    header = json.dumps({**header_of(sealed), **changes}).encode()
    return ".".join([base64.urlsafe_b64encode(header).rstrip(b"=").decode(), *sealed.split(".")[1:]])


async def test_opens_what_it_sealed_in_another_process() -> None:
    made = await a_sealing()
    sealed = await made.sealer.seal(BINDING, SecretBytes(CONTENT))
    assert (await made.restarted().sealer.open(BINDING, sealed)).reveal() == CONTENT


async def test_opens_a_backup_of_megabytes() -> None:
    made = await a_sealing()
    content = bytes(5_000_000)
    sealed = await made.sealer.seal(BINDING, SecretBytes(content))
    assert (await made.sealer.open(BINDING, sealed)).reveal() == content


async def test_two_sealings_of_one_content_differ_in_key_and_nonce() -> None:
    made = await a_sealing()
    first, second = [(await made.sealer.seal(BINDING, SecretBytes(CONTENT))).split(".") for _ in range(2)]
    assert first[0] == second[0]
    assert all(one != other for one, other in zip(first[1:], second[1:], strict=True))


async def test_is_a_plain_jwe_for_other_software() -> None:
    made = await a_sealing()
    sealed = await made.sealer.seal(BINDING, SecretBytes(CONTENT))
    data_key = (await made.data_keys.unwrapped("acc_a", header_of(sealed)["kid"])).raw_value
    header, key, nonce, ciphertext, tag = [
        segment.encode() if index == 0 else base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
        for index, segment in enumerate(sealed.split("."))
    ]
    content_key = aes_key_unwrap(data_key, key)
    assert AESGCM(content_key).decrypt(nonce, ciphertext + tag, header) == CONTENT


@pytest.mark.parametrize(
    "elsewhere",
    [
        replace(BINDING, account="acc_b"),
        replace(BINDING, purpose=CLIENT_SECRET),
        replace(BINDING, object_id="key_2"),
        replace(BINDING, version="esc_2"),
    ],
)
async def test_does_not_open_elsewhere(elsewhere: Binding) -> None:
    made = await a_sealing()
    sealed = await made.sealer.seal(BINDING, SecretBytes(CONTENT))
    with pytest.raises(IntegrityError) as refused:
        await made.sealer.open(elsewhere, sealed)
    assert refused.value.code == "sealed_object_misplaced"
    moved = with_header(
        sealed,
        account=elsewhere.account,
        purpose=elsewhere.purpose,
        object_id=elsewhere.object_id,
        version=elsewhere.version,
    )
    with pytest.raises(IntegrityError):
        await made.sealer.open(elsewhere, moved)


async def test_an_account_does_not_open_under_the_data_key_of_another() -> None:
    made = await a_sealing()
    sealed = await made.sealer.seal(BINDING, SecretBytes(CONTENT))
    stranger = await made.sealer.seal(replace(BINDING, account="acc_b"), SecretBytes(CONTENT))
    with pytest.raises(IntegrityError) as refused:
        await made.sealer.open(BINDING, with_header(sealed, kid=header_of(stranger)["kid"]))
    assert refused.value.code == "data_key_unavailable"


async def test_a_data_key_of_the_same_account_that_is_not_the_one_does_not_open() -> None:
    made = await a_sealing()
    other = await made.data_keys.create("acc_a")
    sealed = await made.sealer.seal(BINDING, SecretBytes(CONTENT))
    with pytest.raises(IntegrityError) as refused:
        await made.sealer.open(BINDING, with_header(sealed, kid=other))
    assert refused.value.code == "sealed_object_altered"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda sealed: "",
        lambda sealed: "....",
        lambda sealed: sealed[:-4],
        lambda sealed: sealed + "AAAA",
        lambda sealed: sealed.rsplit(".", 1)[0],
        lambda sealed: sealed + ".AAAA",
        lambda sealed: sealed + "=",
        lambda sealed: sealed[:-1] + chr(ord(sealed[-1]) + 1),  # other text of the same bytes
        lambda sealed: " " + sealed,
        lambda sealed: sealed.replace(".", ".é", 1),
        lambda sealed: with_header(sealed, alg="dir"),
        lambda sealed: with_header(sealed, alg="none"),
        lambda sealed: with_header(sealed, alg="A128KW"),
        lambda sealed: with_header(sealed, alg="PBES2-HS256+A128KW"),
        lambda sealed: with_header(sealed, enc="A128CBC-HS256"),
        lambda sealed: with_header(sealed, zip="DEF"),
        lambda sealed: with_header(sealed, crit="kid"),
        lambda sealed: base64.urlsafe_b64encode(b"[" * 3000).decode() + "." + sealed.split(".", 1)[1],
        lambda sealed: base64.urlsafe_b64encode(b'["alg"]').rstrip(b"=").decode() + "." + sealed.split(".", 1)[1],
    ],
)
async def test_what_was_altered_does_not_open(spoil: Callable[[str], str]) -> None:
    made = await a_sealing()
    sealed = await made.sealer.seal(BINDING, SecretBytes(CONTENT))
    with pytest.raises(IntegrityError) as refused:
        await made.sealer.open(BINDING, spoil(sealed))
    assert refused.value.code == "sealed_object_altered"
    assert CONTENT.decode() not in str(refused.value)
    assert sealed not in str(refused.value)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
async def test_no_character_can_be_changed(data: st.DataObject) -> None:
    made = await a_sealing()
    sealed = await made.sealer.seal(BINDING, SecretBytes(CONTENT))
    at = data.draw(st.integers(0, len(sealed) - 1))
    character = data.draw(st.sampled_from("ABab09-_.= ").filter(lambda one: one != sealed[at]))
    with pytest.raises(IntegrityError):
        await made.sealer.open(BINDING, sealed[:at] + character + sealed[at + 1 :])


async def test_a_key_used_directly_is_refused_although_it_is_the_right_one() -> None:
    made = await a_sealing()
    kid = header_of(await made.sealer.seal(BINDING, SecretBytes(CONTENT)))["kid"]
    data_key: OctKey = await made.data_keys.unwrapped("acc_a", kid)
    header = {"alg": "dir", "enc": "A256GCM", "kid": kid}
    direct = jwe.encrypt_compact(header, CONTENT, data_key, algorithms=["dir", "A256GCM"])
    with pytest.raises(IntegrityError) as refused:
        await made.sealer.open(BINDING, direct)
    assert refused.value.code == "sealed_object_altered"


@pytest.mark.parametrize("kid", ["../acc_b/dek_x", "", "dek_aaaqeayeaudaocajbifqydio"])
async def test_a_data_key_that_is_not_there_is_said_so(kid: str) -> None:
    made = await a_sealing()
    sealed = await made.sealer.seal(BINDING, SecretBytes(CONTENT))
    with pytest.raises(IntegrityError) as refused:
        await made.sealer.open(BINDING, with_header(sealed, kid=kid))
    assert refused.value.code == "data_key_unavailable"


async def test_a_malformed_data_key_id_is_never_looked_up() -> None:
    made = await a_sealing()
    other = await made.data_keys.create("acc_a")

    class Untouchable(BlobDataKeyRecords):
        async def read(self, account: str, id_: str) -> Stored[WrappedDataKey]:
            raise AssertionError(f"{account}/{id_} was read")

    data_keys = CachedDataKeys(Untouchable(made.blobs), made.sealing_key, made.clock)
    with pytest.raises(IntegrityError):
        await data_keys.unwrapped("acc_a", f"../acc_a/{other}")


async def test_an_unknown_account_seals_nothing() -> None:
    made = await a_sealing()
    with pytest.raises(NotFoundError) as refused:
        await made.sealer.seal(replace(BINDING, account="acc_c"), SecretBytes(CONTENT))
    assert refused.value.code == "account_not_found"


async def test_the_vault_is_asked_once_per_data_key_until_the_time_is_up() -> None:
    clock = SteppedClock()
    made = sealing(clock)
    await made.add_account("acc_a")
    for _ in range(3):
        await made.sealer.seal(BINDING, SecretBytes(CONTENT))
    assert made.sealing_key.unwrapped == 1
    clock.move(timedelta(minutes=11))
    await made.sealer.seal(BINDING, SecretBytes(CONTENT))
    assert made.sealing_key.unwrapped == 2
