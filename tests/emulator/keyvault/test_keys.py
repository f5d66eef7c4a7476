"""Create, read, update and import, with the SDK's own clients."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.keyvault.keys import JsonWebKey, KeyClient
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from .clients import ClientOf, MakeRaw, MakeVault, SyncClientOf, TestVault

NBF = datetime(2040, 1, 1, tzinfo=UTC)
EXP = datetime(2050, 1, 1, tzinfo=UTC)


def octets(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def rsa_web_key(private: rsa.RSAPrivateKey) -> JsonWebKey:
    numbers = private.private_numbers()
    return JsonWebKey(
        kty="RSA",
        n=octets(numbers.public_numbers.n),
        e=octets(numbers.public_numbers.e),
        d=octets(numbers.d),
        p=octets(numbers.p),
        q=octets(numbers.q),
        dp=octets(numbers.dmp1),
        dq=octets(numbers.dmq1),
        qi=octets(numbers.iqmp),
    )


@pytest.mark.parametrize("size", [2048, 3072, 4096])
async def test_rsa_keys_have_the_size_asked_for(client_of: ClientOf, either: TestVault, size: int) -> None:
    key = await client_of(either).create_rsa_key(f"rsa-{size}", size=size)

    assert len(key.key.n) * 8 == size
    assert key.key_type == ("RSA-HSM" if either.is_hsm else "RSA")
    assert set(key.key_operations) == {"encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey"}


@pytest.mark.parametrize(("curve", "width"), [("P-256", 32), ("P-384", 48), ("P-521", 66), ("P-256K", 32)])
async def test_ec_keys_lie_on_the_curve_asked_for(
    client_of: ClientOf, either: TestVault, curve: str, width: int
) -> None:
    key = await client_of(either).create_ec_key(f"ec-{curve}", curve=curve, hardware_protected=True)

    assert key.key_type == "EC-HSM"
    assert (key.key.crv, len(key.key.x), len(key.key.y)) == (curve, width, width)
    assert set(key.key_operations) == {"sign", "verify"}


async def test_symmetric_keys_show_no_material(client_of: ClientOf, either: TestVault) -> None:
    key = await client_of(either).create_oct_key("oct", size=192, hardware_protected=True)

    assert key.key_type == "oct-HSM"
    assert key.key.k is None


async def test_attributes_and_tags_come_back(client_of: ClientOf, either: TestVault) -> None:
    client = client_of(either)
    made = await client.create_key("dated", "EC", enabled=False, not_before=NBF, expires_on=EXP, tags={"team": "pay"})

    read = await client.get_key("DATED", made.properties.version)

    assert (read.properties.enabled, read.properties.not_before, read.properties.expires_on) == (False, NBF, EXP)
    assert read.properties.tags == {"team": "pay"}
    assert read.id == made.id
    assert (read.properties.recovery_level, read.properties.recoverable_days) == ("CustomizedRecoverable+Purgeable", 7)


async def test_a_new_version_is_the_one_read_without_version(client_of: ClientOf, either: TestVault) -> None:
    client = client_of(either)
    first = await client.create_ec_key("twice")
    second = await client.create_ec_key("twice")

    assert (await client.get_key("twice")).id == second.id
    assert (await client.get_key("twice", first.properties.version)).key.x == first.key.x
    listed = [item.version async for item in client.list_properties_of_key_versions("twice")]
    assert sorted(listed) == sorted([first.properties.version, second.properties.version])


async def test_update_changes_one_version_only(client_of: ClientOf, either: TestVault) -> None:
    client = client_of(either)
    first = await client.create_rsa_key("updated", tags={"a": "1"})
    await client.create_rsa_key("updated")

    updated = await client.update_key_properties(
        "updated", first.properties.version, enabled=False, key_operations=["verify"], expires_on=EXP
    )

    assert updated.properties.version == first.properties.version
    assert (updated.properties.enabled, updated.key_operations, updated.properties.expires_on) == (
        False,
        ["verify"],
        EXP,
    )
    assert updated.properties.tags == {"a": "1"}
    newest = await client.get_key("updated")
    assert (newest.properties.enabled, newest.properties.tags) == (True, None)


async def test_imported_rsa_key_keeps_its_numbers(client_of: ClientOf, either: TestVault) -> None:
    private = rsa.generate_private_key(65537, 2048)

    key = await client_of(either).import_key("imported-rsa", rsa_web_key(private), hardware_protected=True)

    assert key.key_type == "RSA-HSM"
    assert int.from_bytes(key.key.n, "big") == private.public_key().public_numbers().n


async def test_imported_rsa_key_needs_no_primes(client_of: ClientOf, vault: TestVault) -> None:
    private = rsa.generate_private_key(65537, 2048)
    full = rsa_web_key(private)

    key = await client_of(vault).import_key("imported-nde", JsonWebKey(kty="RSA", n=full.n, e=full.e, d=full.d))

    assert int.from_bytes(key.key.n, "big") == private.public_key().public_numbers().n


async def test_imported_ec_key_keeps_its_point(client_of: ClientOf, either: TestVault) -> None:
    numbers = ec.generate_private_key(ec.SECP384R1()).private_numbers()
    point = numbers.public_numbers

    key = await client_of(either).import_key(
        "imported-ec",
        JsonWebKey(kty="EC", crv="P-384", x=octets(point.x), y=octets(point.y), d=octets(numbers.private_value)),
    )

    assert (int.from_bytes(key.key.x, "big"), int.from_bytes(key.key.y, "big")) == (point.x, point.y)


async def test_imported_numbers_must_belong_together(client_of: ClientOf, vault: TestVault) -> None:
    web_key = rsa_web_key(rsa.generate_private_key(65537, 2048))
    web_key.d = rsa_web_key(rsa.generate_private_key(65537, 2048)).d

    with pytest.raises(HttpResponseError) as refused:
        await client_of(vault).import_key("imported-bad", web_key)

    assert refused.value.status_code == 400
    assert "BadParameter" in str(refused.value)


async def test_small_rsa_keys_are_not_imported(client_of: ClientOf, either: TestVault) -> None:
    with pytest.raises(HttpResponseError) as refused:
        await client_of(either).import_key("imported-small", rsa_web_key(rsa.generate_private_key(65537, 1024)))  # noqa: S505 - to be refused

    assert refused.value.status_code == 400


@pytest.mark.parametrize("kty", ["RSA-HSM", "EC-HSM", "oct-HSM", "oct"])
async def test_standard_vaults_hold_software_keys_only(raw_of: MakeRaw, standard: TestVault, kty: str) -> None:
    raw = await raw_of(standard)

    answer = await raw("POST", "/keys/hardware/create", {"kty": kty})

    assert answer.error == (400, "BadParameter", None)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"kty": "DSA"},
        {"kty": 3},
        {"kty": "RSA", "key_size": 1024},
        {"kty": "RSA", "key_size": "2048"},
        {"kty": "RSA", "public_exponent": 4},
        {"kty": "EC", "crv": "P-192"},
        {"kty": "EC", "key_ops": ["encrypt"]},
        {"kty": "RSA", "key_ops": ["import", "sign"]},
        {"kty": "RSA", "key_ops": "sign"},
        {"kty": "RSA", "attributes": []},
        {"kty": "RSA", "attributes": {"enabled": "yes"}},
        {"kty": "RSA", "attributes": {"exp": -1}},
        {"kty": "RSA", "tags": {"a": 1}},
        {"kty": "RSA", "tags": {str(number): "" for number in range(16)}},
        {"kty": "RSA", "tags": {"a": "b" * 257}},
        {"kty": "RSA", "attributes": {"exportable": True}},
        {"kty": "RSA", "release_policy": {"data": "e30"}},
        b"not json",
        b"[]",
        b"[" * 100_000,
    ],
)
async def test_bad_create_requests_are_refused(raw_of: MakeRaw, either: TestVault, body: object) -> None:
    raw = await raw_of(either)

    answer = await raw("POST", "/keys/refused/create", body)

    assert answer.error == (400, "BadParameter", None)
    assert (await raw("GET", "/keys/refused")).status == 404


async def test_a_standard_vault_serves_the_synchronous_client(
    sync_client_of: SyncClientOf, standard: TestVault
) -> None:
    client: KeyClient = sync_client_of(standard)
    with client:
        made = client.create_rsa_key("from-sync")
        client.update_key_properties("from-sync", tags={"k": "v"})

        assert client.get_key("from-sync").properties.tags == {"k": "v"}
        assert made.properties.vault_url == standard.url
        assert "from-sync" in [item.name for item in client.list_properties_of_keys()]
        with pytest.raises(ResourceNotFoundError):
            client.get_key("nothing")


async def test_versions_of_an_hsm_key_come_in_the_order_of_creation(client_of: ClientOf, hsm: TestVault) -> None:
    client = client_of(hsm)
    made = [(await client.create_ec_key("ordered")).properties.version for _ in range(5)]

    assert [item.version async for item in client.list_properties_of_key_versions("ordered")] == made


async def test_versions_of_a_vault_key_come_in_the_order_of_ids(client_of: ClientOf, vault: TestVault) -> None:
    client = client_of(vault)
    for _ in range(8):
        await client.create_ec_key("ordered")

    listed = [item.version async for item in client.list_properties_of_key_versions("ordered", max_page_size=3)]

    assert len(listed) == 8
    assert all(before < after for before, after in pairwise(listed))


async def test_an_hsm_key_has_at_most_100_versions(make_vault: MakeVault, client_of: ClientOf) -> None:
    client = client_of(await make_vault("managed_hsm"))
    for _ in range(100):
        await client.create_ec_key("many")

    with pytest.raises(HttpResponseError) as refused:
        await client.create_ec_key("many")

    assert refused.value.status_code == 400
