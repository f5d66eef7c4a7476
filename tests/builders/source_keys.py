"""Builders of source keys as recorded."""

from dataclasses import replace

from core.domain.key_kinds import KeyFamily, KeyKind
from core.domain.keys import CopiedTo, PublicKey, Validity
from core.domain.source_keys import MaterialOrigin, SourceKey, SourceVersion
from tests.builders.keys import ACCOUNT, ALICE, NOW

SOURCE_GROUP = "grp_bbbbbbbbbbbbbbbbbbbbbbbb"


def a_source_version(number: int = 1, **changes: object) -> SourceVersion:
    version = SourceVersion(
        number=number,
        material=f"mat_{number}",
        created_on=NOW,
        created_by=ALICE,
        origin=MaterialOrigin.GENERATED,
        public_key=PublicKey(n="AQAB", e="AQAB", thumbprint=f"print-{number}"),
        validity=Validity(),
    )
    return replace(version, **changes)


def a_source_key(*versions: SourceVersion, **changes: object) -> SourceKey:
    key = SourceKey(
        id="key_ssssssssssssssssssssssss",
        account=ACCOUNT,
        group=SOURCE_GROUP,
        name="master",
        kind=KeyKind(KeyFamily.RSA, 2048),
        permissions=("export", "sign", "verify", "encrypt", "decrypt", "wrap", "unwrap"),
        created_by=ALICE,
        created_on=NOW,
        updated_on=NOW,
        versions=versions or (a_source_version(),),
    )
    return replace(key, **changes)


def a_link(key: str = "key_copy", **changes: object) -> CopiedTo:
    link = CopiedTo(
        group="grp_target",
        group_title="Payments",
        key=key,
        name="master_copy1",
        azure_name="master-copy1",
        source_version=1,
        copied_by=ALICE,
        copied_on=NOW,
    )
    return replace(link, **changes)
