"""Builders of intents: what is asked of a vault, and what a vault shows that has done it."""

from dataclasses import replace
from datetime import timedelta

from core.domain.intents import Intent
from core.domain.key_kinds import KeyFamily, KeyKind
from core.domain.keys import KeyOrigin, KeyVersion, PublicKey, Validity
from core.domain.new_keys import NewVersion
from tests.builders.keys import ACCOUNT, ALICE, CREATED, GROUP, NOW

VALIDITY = Validity(not_before=NOW, expires_on=NOW + timedelta(days=365))
NEW = NewVersion(
    type="RSA-HSM",
    kind=KeyKind(KeyFamily.RSA, 3072),
    operations=("verify", "sign"),
    validity=VALIDITY,
    tags=(("env", "prod"), ("team", "cards")),
    exportable=True,
)
SHOWN = KeyVersion(
    id="1" * 32,
    created_on=CREATED,
    updated_on=CREATED,
    type="RSA-HSM",
    size=3072,
    operations=("sign", "verify"),
    validity=VALIDITY,
    public_key=PublicKey(n="AQAB", e="AQAB", thumbprint="print"),
    tags=(("team", "cards"), ("env", "prod")),
    exportable=True,
)


def an_intent(new: NewVersion = NEW, **changes: object) -> Intent:
    intent = Intent(
        id="int_1",
        account=ACCOUNT,
        group=GROUP,
        name="Card key",
        azure_name="card-key",
        new=new,
        origin=KeyOrigin.NATIVE,
        event="key.created",
        actor=ALICE,
        started_on=NOW,
    )
    return replace(intent, **changes)
