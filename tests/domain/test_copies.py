"""What a copy takes over from its source key, and how both ends of the link say the same."""

from datetime import timedelta

import pytest

from core.domain.copies import back_link, inherited, link_of
from core.domain.groups import Group
from core.domain.key_kinds import Protection
from core.domain.keys import CopiedVersion, Validity
from core.domain.new_keys import KeySettings
from tests.builders.keys import ALICE, GROUP, NOW
from tests.builders.new_keys import GROUPS, SOURCES
from tests.builders.source_keys import SOURCE_GROUP, a_source_key, a_source_version

LATER = NOW + timedelta(days=1)
EXPIRES = Validity(enabled=False, expires_on=LATER)
OLD, NEW = a_source_version(1, validity=EXPIRES), a_source_version(2)
KEY = a_source_key(OLD, NEW, permissions=("export", "sign", "wrap", "unwrap"), tags=(("team", "cards"),))
VAULT, SOURCE = GROUPS[GROUP], GROUPS[SOURCES]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (VAULT, KeySettings(operations=("sign", "wrapKey", "unwrapKey"), validity=EXPIRES, tags=KEY.tags)),
        (SOURCE, KeySettings(permissions=KEY.permissions, validity=EXPIRES, tags=KEY.tags)),
    ],
)
def test_nothing_said_takes_over_what_the_version_and_its_key_have(target: Group, expected: KeySettings) -> None:
    assert inherited(KeySettings(), KEY, OLD, target) == expected


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (VAULT, KeySettings(protection=Protection.HSM, operations=("verify",), validity=Validity(), tags=())),
        (SOURCE, KeySettings(permissions=(), validity=Validity(), tags=(("a", "b"),))),
    ],
)
def test_what_is_said_counts_also_where_it_is_empty(target: Group, said: KeySettings) -> None:
    assert inherited(said, KEY, OLD, target) == said


def test_both_ends_of_a_link_say_the_same() -> None:
    link = link_of(KEY, OLD, ALICE, NOW)
    assert (link.group, link.key, link.name) == (SOURCE_GROUP, KEY.id, "master")
    # The vault's id of the version comes when there is one.
    assert link.versions == (CopiedVersion("", 1, "print-1"),)
    back = back_link(VAULT, "key_copy", "master_copy1", "master-copy1", link)
    assert (back.group, back.group_title) == (VAULT.id, VAULT.title)
    assert (back.key, back.name, back.azure_name) == ("key_copy", "master_copy1", "master-copy1")
    assert (back.copied_by, back.copied_on) == (link.copied_by, link.copied_on) == (ALICE, NOW)
    assert back.source_version == 1
