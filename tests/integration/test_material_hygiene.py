"""Material is never where it should not be: all flows are played, then every store, log and answer is searched."""

import json
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.integration.estate import Site
from tests.integration.ledger import Ledger
from tests.integration.material import (
    AES,
    EC,
    RSA,
    Key,
    a_key,
    base64_of,
    base64url_of,
    der,
    pem,
)
from tests.integration.material_flows import every_flow
from tests.integration.test_crashes import assert_nothing_in_the_open
from tests.integration.test_zz_secrets import FORMS


async def test_no_store_log_or_answer_holds_material(site: Site) -> None:
    answers = await every_flow(await site.estate())
    assert len(answers) > 100
    for request, content in answers:
        assert list(site.ledger.found_in(content)) == [], request
        if "/export" not in request:
            assert [what for what, form in FORMS.items() if form.search(content)] == [], request
    await assert_nothing_in_the_open(site)


def members(key: Key) -> dict[str, str]:
    """Return the private members of the key as a JWK."""
    numbers = key.private.private_numbers()
    found = {"d": getattr(numbers, "d", None) or numbers.private_value}
    if key.family == "RSA":
        found |= {"p": numbers.p, "q": numbers.q, "dp": numbers.dmp1, "dq": numbers.dmq1, "qi": numbers.iqmp}
    return {name: base64url_of(number.to_bytes((number.bit_length() + 7) // 8)) for name, number in found.items()}


#: The forms in which material could be found.
LEAKS: dict[str, Callable[[Key], bytes]] = {
    "PEM": lambda key: pem(key).encode(),
    "traditional PEM": lambda key: pem(key, "-traditional").encode(),
    "PEM in JSON": lambda key: json.dumps({"k": pem(key)}).encode(),
    "DER": lambda key: key.content,
    "traditional DER": lambda key: der(key, "-traditional"),
    "base64": lambda key: base64_of(b"{" + key.content).encode(),
    "base64url": lambda key: base64url_of(b"\0\0" + key.content).encode(),
    "hex": lambda key: key.content.hex().encode(),
}


@pytest.mark.parametrize("kind", [*RSA, *EC, *AES])
def test_material_would_be_found_in_any_form(kind: str) -> None:
    ledger = Ledger()
    key = a_key(ledger, kind)
    for form, write in LEAKS.items():
        if key.family == "AES" and ("PEM" in form or "DER" in form):
            continue
        content = b"before" + write(key) + b"after"
        assert kind in ledger.found_in(content), form
    if key.family != "AES":
        for name, member in members(key).items():
            assert kind in ledger.found_in(f'{{"{name}": "{member}"}}'.encode()), name
        assert list(ledger.found_in(key.public_pem.encode() + public_der(key))) == [], "what is public is no secret"


def public_der(key: Key) -> bytes:
    return key.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
