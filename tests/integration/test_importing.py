"""Keys that `openssl` made come in, written in every way, to every place; and they are there what they were here."""

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import pytest_asyncio

from tests.integration.azure import Vault
from tests.integration.client import Json
from tests.integration.estate import Estate, Site
from tests.integration.material import (
    AES,
    EC,
    FORMS,
    RSA,
    Key,
    a_key,
    asked,
    assert_held,
    base64_of,
    base64url_of,
    der,
    key_wrap,
    named,
    pem,
    rsa_aes_key_wrap,
)

PREMIUM_POLICY = {"key_policy": {"optional_curves": ["P-256K"]}}
#: Every place, and the kinds that come there.
PLACES = {
    "source": (*RSA, *EC, *AES),
    "standard": (*RSA, *EC),
    "premium software": (*RSA, *EC),
    "premium hsm": (*RSA, *EC),
    "managed_hsm hsm": (*RSA, *EC, *AES),
}
AES_FORMS = {"base64": base64_of, "base64url": base64url_of, "hex": bytes.hex}


@dataclass(frozen=True)
class Place:
    """A group, and the vault that it is linked to, if it is no source group."""

    estate: Estate
    group: str
    vault: Vault | None
    settings: Json

    async def imports(self, key: Key, material: Json, name: str, **members: object) -> None:
        """Import a key and check that it is there."""
        body = {"material": material, **self.named(name), **self.settings, **members}
        shown = await self.estate.api.post(f"groups/{self.group}/keys/import", body)
        await self.assert_there(key, shown)

    async def uploads(self, key: Key, file: bytes, name: str, **members: object) -> None:
        """Import a key from a file and check that it is there."""
        request = {**self.named(name), **self.settings, **members}
        reply = await self.estate.upload(f"groups/{self.group}/keys/import", request, file)
        assert reply.status == 201, reply.content
        await self.assert_there(key, reply.json)

    def named(self, name: str) -> Json:
        return {"name": name} if self.vault is None else {"azure_name": name}

    async def assert_there(self, key: Key, shown: Json) -> None:
        """Check what is shown of a key that was imported a moment ago, and that the material is the key's."""
        assert (shown["origin"], shown["state"]) == ("imported", "active")
        assert shown["history"][-1]["event"] == "key.imported"
        if self.vault is not None:
            assert [one["versions"] for one in shown["escrow"]] == [[shown["versions"][0]["id"]]]
            async with self.estate.azure.owner(self.vault) as owner:
                await assert_held(owner, shown["azure_name"], key)
        if key.family != "AES":
            public = await self.estate.api.get(f"groups/{self.group}/keys/{shown['id']}/public-key")
            assert public["pem"] == key.public_pem


@pytest_asyncio.fixture(scope="module")
async def places(site: Site) -> dict[str, Place]:
    """Every place to import to, in one account."""
    estate = await site.estate()
    standard, premium, managed_hsm = await asyncio.gather(
        estate.vault_group(), estate.vault_group("premium", **PREMIUM_POLICY), estate.vault_group("managed_hsm")
    )
    return {
        "source": Place(estate, await estate.source_group(), None, {}),
        "standard": Place(estate, standard[1], standard[0], {}),
        "premium software": Place(estate, premium[1], premium[0], {"protection": "software"}),
        "premium hsm": Place(estate, premium[1], premium[0], {}),
        "managed_hsm hsm": Place(estate, managed_hsm[1], managed_hsm[0], {}),
    }


def cells() -> Iterator[tuple[str, str, str]]:
    """Every place with every kind of RSA and EC, in a form that changes from one to the next; every form somewhere."""
    forms = list(FORMS)
    for (at, place), (number, kind) in itertools.product(enumerate(PLACES), enumerate((*RSA, *EC))):
        yield place, kind, forms[(at + number) % len(forms)]


async def test_every_kind_comes_to_every_place(places: dict[str, Place]) -> None:
    site = places["source"].estate.site
    async with asyncio.TaskGroup() as playing:
        for place, kind, form in cells():
            key = a_key(site.ledger, kind)
            # What it is may be said or left out.
            said = asked(kind) if "PEM" in form else {}
            name = f"{named(kind)}-{place.partition(' ')[2]}"
            playing.create_task(places[place].imports(key, FORMS[form](key), name, **said))
    assert {form for _, _, form in cells()} == set(FORMS)


async def test_every_form_of_every_kind_is_read(places: dict[str, Place]) -> None:
    place = places["source"]
    async with asyncio.TaskGroup() as playing:
        for kind, (form, write) in itertools.product((*RSA, *EC), FORMS.items()):
            key = a_key(place.estate.site.ledger, kind)
            playing.create_task(place.imports(key, write(key), f"{kind} as {form}".replace("/", " ")))


async def test_symmetric_keys_come_to_hsms(places: dict[str, Place]) -> None:
    async with asyncio.TaskGroup() as playing:
        for place, kind, (form, write) in itertools.product(("source", "managed_hsm hsm"), AES, AES_FORMS.items()):
            key = a_key(places[place].estate.site.ledger, kind)
            said = {"value": write(key.content)}
            playing.create_task(places[place].imports(key, said, f"{named(kind)}-{form}", **asked(kind)))
    for place in ("standard", "premium software", "premium hsm"):
        group, estate = places[place].group, places[place].estate
        key = a_key(estate.site.ledger, "AES 256")
        body = {"name": "aes", "type": "AES", "material": {"value": base64_of(key.content)}, **places[place].settings}
        await estate.api.refused("POST", f"groups/{group}/keys/import", body, status=422, code="key_not_allowed")


async def test_files_are_uploaded(places: dict[str, Place]) -> None:
    ledger = places["source"].estate.site.ledger
    rsa, ec, aes = (a_key(ledger, kind) for kind in ("RSA 2048", "EC P-384", "AES 128"))
    files = {
        "pem": (rsa, pem(rsa).encode(), {}),
        "der": (rsa, rsa.content, {"type": "RSA"}),
        "traditional": (ec, der(ec, "-traditional"), {"type": "EC", "curve": "P-384"}),
    }
    for place, (name, (key, file, said)) in itertools.product(places.values(), files.items()):
        await place.uploads(key, file, f"{name}-{place.settings.get('protection', '')}x", **said)
    for place in ("source", "managed_hsm hsm"):
        await places[place].uploads(aes, aes.content, "octets", type="AES")


async def test_what_is_wrapped_is_unwrapped_by_a_source_key(places: dict[str, Place]) -> None:
    source = places["source"]
    ledger, api = source.estate.site.ledger, source.estate.api
    wrapping: dict[str, Json] = {}
    for kind in (*AES, "RSA 3072"):
        key = a_key(ledger, kind, 1)
        material = {"value": base64_of(key.content)}
        body = {"name": f"wraps {kind}", **asked(kind), "permissions": ["unwrap"], "material": material}
        made = await api.post(f"groups/{source.group}/keys/import", body)
        wrapping[kind] = {"group": source.group, "key": made["id"]}
    async with asyncio.TaskGroup() as playing:
        for place, kind, (wrapping_kind, digest) in wrapped_cells():
            wrapping_key, key = a_key(ledger, wrapping_kind, 1), a_key(ledger, kind)
            unwrap = dict(wrapping[wrapping_kind])
            if digest is None:
                wrapped = key_wrap(wrapping_key.content, key.content)
            else:
                wrapped = rsa_aes_key_wrap(wrapping_key.public_pem, key.content, digest)
                # These two are tried by themselves.
                unwrap |= {} if digest in {"sha1", "sha256"} else {"oaep_hash": digest}
            name = f"{named(kind)}-under-{named(wrapping_kind)}-{place.partition(' ')[2]}"
            said = asked(kind) if key.family == "AES" else {}
            material = {"value": wrapped.hex() if digest == "sha1" else base64_of(wrapped), "unwrap": unwrap}
            playing.create_task(places[place].imports(key, material, name, **said))
            if kind == "EC P-256":
                material = {"unwrap": {**unwrap, "algorithm": "RSA-AES-KEY-WRAP" if digest else "AES-KWP"}}
                playing.create_task(places[place].uploads(key, wrapped, f"{name}-file", material=material))


def wrapped_cells() -> Iterator[tuple[str, str, tuple[str, str | None]]]:
    """Every place and kind, by turns wrapped under an AES key and under an RSA key: every type in both ways."""
    ways = [[(kind, None) for kind in AES], [("RSA 3072", digest) for digest in ("sha1", "sha256", "sha512")]]
    turn = itertools.count()
    for at, (place, kinds) in enumerate(PLACES.items()):
        for number, kind in enumerate(kinds):
            way = ways[(at + number) % 2]
            yield place, kind, way[next(turn) // 2 % len(way)]
