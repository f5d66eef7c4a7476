"""Material that cannot be taken: each kind of it is a 400 of its own that repeats nothing, and nothing is made."""

import asyncio
import json

import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.integration.azure import Vault
from tests.integration.client import Json
from tests.integration.estate import Estate, Site
from tests.integration.ledger import Ledger
from tests.integration.material import (
    PASSPHRASE,
    Key,
    a_key,
    asked,
    base64_of,
    der,
    encrypted_pem,
    key_wrap,
    pem,
    rsa_aes_key_wrap,
)
from tests.material.keys import openssl, openssl_with

#: 65537 rounds, as a number in DER; and more than anybody should ask for.
ROUNDS, MANY_ROUNDS = bytes.fromhex("0203010001"), bytes.fromhex("02037fffff")


def generated(algorithm: str, *options: str) -> str:
    arguments = [part for option in options for part in ("-pkeyopt", option)]
    return openssl("genpkey", "-algorithm", algorithm, *arguments).decode()


def cut(key: Key) -> str:
    return base64_of(key.content[:-9])


def certificate(key: Key) -> str:
    files = {"key": pem(key).encode()}
    return openssl_with(files, "req", "-x509", "-new", "-key", "{key}", "-subj", "/CN=k", "-days", "2").decode()


def with_another_number(key: Key) -> str:
    """The key with one bit of its private number changed."""
    number = key.private.private_numbers()
    secret = number.d if isinstance(number, rsa.RSAPrivateNumbers) else number.private_value
    octets = secret.to_bytes((secret.bit_length() + 7) // 8)
    assert key.content.count(octets) == 1
    return base64_of(key.content.replace(octets, octets[:-1] + bytes([octets[-1] ^ 2])))


def under_a_costly_passphrase(key: Key) -> str:
    way = ("-topk8", "-inform", "DER", "-outform", "DER", "-iter", "65537", "-passout", f"pass:{PASSPHRASE}")
    content = openssl("pkcs8", *way, stdin=key.content)
    assert content.count(ROUNDS) == 1
    return base64_of(content.replace(ROUNDS, MANY_ROUNDS))


def openssh(key: Key) -> str:
    return key.private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


RSA_KEY, EC_KEY = "RSA 2048", "EC P-256"


def bad_materials(ledger: Ledger) -> dict[str, tuple[str, Json, Json]]:
    """What is wrong: the code that it gets, the material, and what the request says beside it."""
    rsa_key, ec_key, aes_key = (a_key(ledger, kind) for kind in (RSA_KEY, EC_KEY, "AES 256"))
    text = pem(rsa_key)
    passphrase = {"passphrase": PASSPHRASE}
    return {
        "not base64": ("material_encoding_invalid", {"value": "*" + base64_of(ec_key.content)}, {}),
        "a digit missing": ("material_encoding_invalid", {"value": ec_key.content.hex()[1:], "encoding": "hex"}, {}),
        "not PEM": ("material_encoding_invalid", {"value": base64_of(ec_key.content), "encoding": "pem"}, {}),
        "too much": ("material_too_large", {"value": text + " " * 65_536}, {}),
        "cut off": ("material_corrupt", {"value": cut(rsa_key)}, {}),
        "cut off PEM": ("material_corrupt", {"value": text[:-40]}, {}),
        "of another type": ("material_type_mismatch", {"value": pem(ec_key)}, asked(RSA_KEY)),
        "not symmetric": ("material_type_mismatch", {"value": pem(ec_key)}, asked("AES 256")),
        "small": ("material_size_not_allowed", {"value": generated("RSA", "rsa_keygen_bits:1024")}, {}),
        "an odd AES size": ("material_size_not_allowed", {"value": "ab" * 20}, {"type": "AES"}),
        "of another size": ("material_size_mismatch", {"value": text}, asked("RSA 3072")),
        "of another AES size": ("material_size_mismatch", {"value": aes_key.content.hex()}, asked("AES 128")),
        "another curve": ("material_curve_mismatch", {"value": pem(ec_key)}, asked("EC P-384")),
        "an odd curve": ("material_curve_not_allowed", {"value": generated("EC", "ec_paramgen_curve:P-224")}, {}),
        "a curve by its numbers": (
            "material_curve_not_allowed",
            {"value": generated("EC", "ec_paramgen_curve:P-256", "ec_param_enc:explicit")},
            {},
        ),
        "Ed25519": ("material_kind_unsupported", {"value": generated("ED25519")}, {}),
        "RSA for PSS": ("material_kind_unsupported", {"value": generated("RSA-PSS", "rsa_keygen_bits:2048")}, {}),
        "OpenSSH": ("material_format_unsupported", {"value": openssh(ec_key)}, {}),
        "a JWK": ("material_format_unsupported", {"value": json.dumps({"kty": "oct", "k": aes_key.content.hex()})}, {}),
        "public": ("material_public_only", {"value": rsa_key.public_pem}, {}),
        "public DER": ("material_public_only", {"value": base64_of(der(rsa_key, "-pubout"))}, {}),
        "a certificate": ("material_certificate", {"value": certificate(ec_key)}, {}),
        "another RSA exponent": ("material_inconsistent", {"value": with_another_number(rsa_key)}, {}),
        "another EC number": ("material_inconsistent", {"value": with_another_number(ec_key)}, {}),
        "no passphrase": ("material_passphrase_required", {"value": encrypted_pem(ec_key)}, {}),
        "a wrong passphrase": ("material_passphrase_wrong", {"value": encrypted_pem(ec_key), "passphrase": "x"}, {}),
        "a needless passphrase": ("material_passphrase_unexpected", {"value": pem(ec_key), **passphrase}, {}),
        "a costly passphrase": (
            "material_passphrase_too_costly", {"value": under_a_costly_passphrase(ec_key), **passphrase}, {},
        ),
        "two keys": ("material_ambiguous", {"value": text + pem(ec_key)}, {}),
        "octets of what": ("material_ambiguous", {"value": aes_key.content.hex()}, {}),
        "a large exponent": (
            "material_exponent_not_allowed",
            {"value": generated("RSA", "rsa_keygen_bits:2048", "rsa_keygen_pubexp:4294967311")},
            {},
        ),
        "zeros": ("material_weak", {"value": "00" * 32}, asked("AES 256")),
    }  # fmt: skip


@pytest_asyncio.fixture(scope="module")
async def target(site: Site) -> tuple[Estate, Vault, str, str]:
    """A vault with its group, and a source group."""
    estate = await site.estate()
    return (estate, *await estate.vault_group("managed_hsm"), await estate.source_group())


async def test_each_kind_of_bad_material_has_its_code(target: tuple[Estate, Vault, str, str]) -> None:
    estate, vault, group, source = target
    before = await estate.azure.requests(vault)
    bad = bad_materials(estate.site.ledger)
    async with asyncio.TaskGroup() as playing:
        for what, (code, material, said) in bad.items():
            for to in (group, source):
                playing.create_task(
                    is_refused(estate, to, code, {"name": "k", "material": material, **said}), name=what
                )
    assert await estate.azure.requests(vault) == before, "nothing was sent"
    assert await estate.api.pages("keys") == []


async def is_refused(estate: Estate, group: str, code: str, body: Json) -> None:
    problem = await estate.api.refused("POST", f"groups/{group}/keys/import", body, status=400, code=code)
    assert problem["field"] == "material"
    assert_repeats_nothing(problem, body["material"])


def assert_repeats_nothing(problem: Json, material: Json) -> None:
    """Check that a problem holds no part of what it complains about."""
    told = json.dumps(problem)
    for text in filter(None, (material.get("value"), material.get("passphrase"))):
        lines = [line.strip() for line in text.splitlines() if "-----" not in line]
        assert not [line for line in lines if len(line) > 12 and line[:12] in told]


async def test_a_wrapped_key_that_cannot_be_unwrapped(target: tuple[Estate, Vault, str, str]) -> None:
    estate, vault, group, source = target
    ledger, api = estate.site.ledger, estate.api
    ec_key, wrapping, other = a_key(ledger, EC_KEY), a_key(ledger, "AES 256", 1), a_key(ledger, "RSA 2048", 1)

    async def held(name: str, key: Key, **members: object) -> Json:
        body = {"name": name, **asked(key.kind), "material": {"value": base64_of(key.content)}, **members}
        made = await api.post(f"groups/{source}/keys/import", body)
        return {"group": source, "key": made["id"]}

    aes = await held("aes", wrapping)
    rsa_ = await held("rsa", other)
    forbidden = await held("no unwrapping", a_key(ledger, "AES 128", 1), permissions=["wrap"])
    disabled = await held("disabled", a_key(ledger, "AES 192", 1), enabled=False)
    ec = await held("ec", a_key(ledger, "EC P-384"))
    good, public = key_wrap(wrapping.content, ec_key.content), other.public_pem
    foreign = rsa_aes_key_wrap(a_key(ledger, RSA_KEY).public_pem, ec_key.content)
    not_a_key = key_wrap(wrapping.content, b"these octets are no key at all")
    cases: list[tuple[int, str, bytes, Json]] = [
        (400, "unwrap_failed", good[:-1] + bytes([good[-1] ^ 1]), aes),
        (400, "unwrap_failed", key_wrap(other.content[:32], ec_key.content), aes),
        (400, "unwrap_failed", foreign, rsa_),
        (400, "unwrap_failed", rsa_aes_key_wrap(public, ec_key.content), {**rsa_, "oaep_hash": "sha256"}),
        (400, "wrapped_material_malformed", good[:-3], aes),
        (400, "wrapped_material_malformed", good, rsa_),
        (400, "material_corrupt", not_a_key, aes),
        (400, "material_public_only", key_wrap(wrapping.content, der(ec_key, "-pubout")), aes),
        (409, "wrapping_key_unsuitable", good, {**aes, "algorithm": "RSA-AES-KEY-WRAP"}),
        (409, "key_permission_missing", good, forbidden),
        (409, "key_permission_missing", good, ec),
        (409, "key_not_active", good, disabled),
        (404, "key_version_not_found", good, {**aes, "version": 2}),
        (404, "key_not_found", good, {**aes, "key": "key_" + "a" * 24}),
        (404, "key_not_found", good, {**aes, "group": "grp_" + "a" * 24}),
    ]
    before = await estate.azure.requests(vault)
    for status, code, wrapped, unwrap in cases:
        body = {"name": "k", "type": "EC", "material": {"value": base64_of(wrapped), "unwrap": unwrap}}
        problem = await api.refused("POST", f"groups/{group}/keys/import", body, status=status, code=code)
        assert_repeats_nothing(problem, body["material"])
    assert await estate.azure.requests(vault) == before
    assert await estate.keys(group) == {}


async def test_to_unwrap_takes_a_permission_where_the_wrapping_key_is(estate: Estate) -> None:
    _, group = await estate.vault_group()
    source = await estate.source_group()
    wrapping = await estate.api.post(f"groups/{source}/keys", {"name": "wrapping", "type": "AES", "size": 256})
    material = {"value": "00" * 24, "unwrap": {"group": source, "key": wrapping["id"]}}
    body = {"name": "k", "type": "EC", "material": material}
    operator = await estate.application({group: "operator", source: "auditor"})
    problem = await operator.refused("POST", f"groups/{group}/keys/import", body, status=403, code="not_permitted")
    assert problem["permission"] == "key.transfer"
    stranger = await estate.application({group: "operator"})
    await stranger.refused("POST", f"groups/{group}/keys/import", body, status=404, code="group_not_found")
    permitted = await estate.application({group: "operator", source: "operator"})
    await permitted.refused("POST", f"groups/{group}/keys/import", body, status=400, code="unwrap_failed")
