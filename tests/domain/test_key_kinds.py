"""Which keys can be where: every cell of kinds by targets, written out apart from the product's table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.connections import VaultType
from core.domain.key_kinds import (
    AES_SIZES,
    CURVES,
    OPERATIONS,
    PERMISSIONS,
    RSA_SIZES,
    TIERS,
    KeyFamily,
    KeyKind,
    KeyPolicy,
    Protection,
    Target,
    azure_type,
    check_allowed,
    check_kind,
    check_operations,
    check_room,
    kind_of,
    operations_of,
    permissions_of,
    protection_of,
    target_of,
    violations,
)
from core.errors import ConflictError, PolicyViolationError

RSA, EC, AES = KeyFamily.RSA, KeyFamily.EC, KeyFamily.AES
RSA_KIND, EC_KIND, AES_KIND = KeyKind(RSA, 2048), KeyKind(EC, curve="P-256"), KeyKind(AES, 256)
WITH_P256K = KeyPolicy(optional_curves=("P-256K",))

#: "+" is allowed, "p" only where the group's policy adds it; otherwise the field that refuses it.
CELLS = """
                source  standard  premium_software  premium_hsm  managed_hsm
    RSA 1024    size    size      size              size         size
    RSA 2048    +       +         +                 +            +
    RSA 3072    +       +         +                 +            +
    RSA 4096    +       +         +                 +            +
    RSA 8192    size    size      size              size         size
    EC P-256    +       +         +                 +            +
    EC P-384    +       +         +                 +            +
    EC P-521    +       +         +                 +            +
    EC P-256K   +       +         p                 p            +
    EC P-224    curve   curve     curve             curve        curve
    AES 64      size    type      type              type         size
    AES 128     +       type      type              type         +
    AES 192     +       type      type              type         +
    AES 256     +       type      type              type         +
    AES 512     size    type      type              type         size
"""


def _cells() -> list[tuple[str, KeyKind, Target, str]]:
    header, *rows = (line.split() for line in CELLS.strip().splitlines())
    found = []
    for family, parameter, *cells in rows:
        curve = parameter if family == "EC" else None
        kind = KeyKind(KeyFamily(family), None if curve else int(parameter), curve)
        found += [(f"{kind} {name}", kind, Target(name), cell) for name, cell in zip(header, cells, strict=True)]
    return found


@pytest.mark.parametrize(("kind", "target", "cell"), [cell[1:] for cell in _cells()], ids=[c[0] for c in _cells()])
def test_every_kind_is_allowed_where_the_table_says_so(kind: KeyKind, target: Target, cell: str) -> None:
    words = PERMISSIONS[kind.family] if target is Target.SOURCE else OPERATIONS[kind.family]
    without = [one.field for one in violations(target, kind, words)]
    with_curve = [one.field for one in violations(target, kind, words, policy=WITH_P256K)]
    expected = {"+": ([], []), "p": (["curve"], [])}.get(cell, ([cell], [cell]))
    assert (without, with_curve) == expected
    if without:
        with pytest.raises(PolicyViolationError) as refusal:
            check_kind(target, kind, KeyPolicy())
        assert (refusal.value.code, refusal.value.field) == ("key_not_allowed", without[0])
    else:
        check_kind(target, kind, KeyPolicy())
        check_allowed(target, kind, words)


def test_the_table_of_tiers_has_no_kind_that_the_cells_lack() -> None:
    allowed = {(target, str(kind)) for _, kind, target, cell in _cells() if cell in {"+", "p"}}
    in_tiers = set()
    for target, tier in TIERS.items():
        in_tiers |= {(target, f"RSA {size}") for size in tier.rsa_sizes}
        in_tiers |= {(target, f"EC {curve}") for curve in tier.curves + tier.optional_curves}
        in_tiers |= {(target, f"AES {size}") for size in tier.aes_sizes}
    assert in_tiers == allowed


def test_a_curve_that_a_policy_can_add_says_so() -> None:
    (optional,) = violations(Target.PREMIUM_HSM, KeyKind(EC, curve="P-256K"), ("sign",))
    (never,) = violations(Target.PREMIUM_HSM, KeyKind(EC, curve="P-224"), ("sign",))
    assert "policy can add it" in optional.detail
    assert "policy" not in never.detail


def test_a_policy_adds_nothing_that_is_not_optional() -> None:
    policy = KeyPolicy(optional_curves=("P-224", "P-256K"))
    assert [one.field for one in violations(Target.STANDARD, KeyKind(EC, curve="P-224"), ("sign",), policy=policy)]


@pytest.mark.parametrize(
    ("family", "allowed"),
    [
        (RSA, {"encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey"}),
        (EC, {"sign", "verify"}),
        (AES, {"encrypt", "decrypt", "wrapKey", "unwrapKey"}),
    ],
)
@pytest.mark.parametrize(
    "operation", ["encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey", "import", "export", "wrap", ""]
)
def test_each_operation_belongs_to_its_families(family: KeyFamily, allowed: set[str], operation: str) -> None:
    kind = {RSA: RSA_KIND, EC: EC_KIND, AES: AES_KIND}[family]
    found = [one.field for one in violations(Target.MANAGED_HSM, kind, (*sorted(allowed), operation))]
    assert found == ([] if operation in allowed else ["operations"])


@pytest.mark.parametrize(
    ("family", "allowed"),
    [
        (RSA, {"export", "sign", "verify", "encrypt", "decrypt", "wrap", "unwrap"}),
        (EC, {"export", "sign", "verify"}),
        (AES, {"export", "encrypt", "decrypt", "wrap", "unwrap"}),
    ],
)
@pytest.mark.parametrize("permission", ["export", "sign", "verify", "encrypt", "decrypt", "wrap", "unwrap", "wrapKey"])
def test_each_permission_belongs_to_its_families(family: KeyFamily, allowed: set[str], permission: str) -> None:
    kind = {RSA: RSA_KIND, EC: EC_KIND, AES: AES_KIND}[family]
    found = [one.field for one in violations(Target.SOURCE, kind, (permission,))]
    assert found == ([] if permission in allowed else ["permissions"])


def test_a_source_key_may_have_no_permission_but_a_key_in_a_vault_needs_an_operation() -> None:
    assert violations(Target.SOURCE, RSA_KIND, ()) == ()
    for target in set(Target) - {Target.SOURCE}:
        assert [one.field for one in violations(target, RSA_KIND, ())] == ["operations"]


@pytest.mark.parametrize(
    ("target", "kind", "operations", "allowed"),
    [
        (Target.PREMIUM_HSM, RSA_KIND, ("import",), True),
        (Target.MANAGED_HSM, RSA_KIND, ("import",), True),
        (Target.PREMIUM_SOFTWARE, RSA_KIND, ("import",), False),
        (Target.STANDARD, RSA_KIND, ("import",), False),
        (Target.SOURCE, RSA_KIND, ("import",), False),
        (Target.PREMIUM_HSM, EC_KIND, ("import",), False),
        (Target.MANAGED_HSM, AES_KIND, ("import",), False),
        # It stands alone.
        (Target.PREMIUM_HSM, RSA_KIND, ("import", "sign"), False),
        (Target.PREMIUM_HSM, RSA_KIND, ("unwrapKey", "import"), False),
        (Target.PREMIUM_HSM, RSA_KIND, ("import", "import"), False),
    ],
)
def test_import_is_for_key_exchange_keys_alone(
    target: Target, kind: KeyKind, operations: tuple[str, ...], allowed: bool
) -> None:
    assert (violations(target, kind, operations) == ()) is allowed


@pytest.mark.parametrize(
    ("target", "allowed"),
    [
        (Target.SOURCE, False),
        (Target.STANDARD, False),
        (Target.PREMIUM_SOFTWARE, False),
        (Target.PREMIUM_HSM, True),
        (Target.MANAGED_HSM, True),
    ],
)
def test_only_what_an_hsm_protects_can_be_exportable(target: Target, allowed: bool) -> None:
    found = [one.field for one in violations(target, RSA_KIND, ("sign",), exportable=True)]
    assert found == ([] if allowed else ["exportable"])


def test_every_violation_is_named_and_the_first_leads() -> None:
    with pytest.raises(PolicyViolationError) as refusal:
        check_allowed(Target.STANDARD, KeyKind(RSA, 1024), ("encrypt", "fly"), exportable=True)
    assert refusal.value.field == "size"
    named = refusal.value.facts["violations"]
    assert isinstance(named, list)
    assert [one["field"] for one in named] == ["size", "operations", "exportable"]
    assert all(one["detail"] for one in named)


@pytest.mark.parametrize(
    ("vault", "protection", "expected"),
    [
        (VaultType.STANDARD, None, Target.STANDARD),
        (VaultType.STANDARD, Protection.SOFTWARE, Target.STANDARD),
        (VaultType.STANDARD, Protection.HSM, None),
        (VaultType.PREMIUM, None, Target.PREMIUM_HSM),
        (VaultType.PREMIUM, Protection.SOFTWARE, Target.PREMIUM_SOFTWARE),
        (VaultType.PREMIUM, Protection.HSM, Target.PREMIUM_HSM),
        (VaultType.MANAGED_HSM, None, Target.MANAGED_HSM),
        (VaultType.MANAGED_HSM, Protection.SOFTWARE, None),
        (VaultType.MANAGED_HSM, Protection.HSM, Target.MANAGED_HSM),
    ],
)
def test_a_vault_has_the_targets_of_its_type(
    vault: VaultType, protection: Protection | None, expected: Target | None
) -> None:
    if expected is not None:
        assert target_of(vault, protection) is expected
        return
    with pytest.raises(PolicyViolationError) as refusal:
        target_of(vault, protection)
    assert (refusal.value.code, refusal.value.field) == ("key_not_allowed", "protection")


@pytest.mark.parametrize(
    ("family", "software", "hardware"),
    [(RSA, "RSA", "RSA-HSM"), (EC, "EC", "EC-HSM"), (AES, "oct", "oct-HSM")],
)
def test_azure_names_types_by_family_and_protection(family: KeyFamily, software: str, hardware: str) -> None:
    assert azure_type(family, Protection.SOFTWARE) == software
    assert azure_type(family, Protection.HSM) == hardware


_KINDS = st.one_of(
    st.builds(KeyKind, st.just(RSA), st.sampled_from(RSA_SIZES)),
    st.builds(KeyKind, st.just(AES), st.sampled_from(AES_SIZES)),
    st.builds(lambda curve: KeyKind(EC, curve=curve), st.sampled_from(CURVES)),
)


@given(kind=_KINDS, protection=st.sampled_from(Protection), bits=st.none() | st.integers(1, 9999))
def test_a_kind_is_known_again_from_what_a_vault_shows(kind: KeyKind, protection: Protection, bits: int | None) -> None:
    # Of an EC key a vault tells bits, too, which say nothing new.
    size = kind.size if kind.family is not EC else bits
    assert kind_of(azure_type(kind.family, protection), size, kind.curve) == kind


@pytest.mark.parametrize("kty", ["", "OKP", "oct-hsm", "rsa", "RSA-HSM-HSM", "AES", "HSM"])
def test_an_unknown_type_is_no_kind(kty: str) -> None:
    assert kind_of(kty, 2048, None) is None


@pytest.mark.parametrize("family", KeyFamily)
def test_permissions_become_the_operations_of_their_family(family: KeyFamily) -> None:
    assert set(operations_of(PERMISSIONS[family])) == set(OPERATIONS[family])
    assert operations_of(("export",)) == ()


@pytest.mark.parametrize("family", KeyFamily)
def test_nobody_gets_the_permission_to_export_without_asking(family: KeyFamily) -> None:
    assert set(permissions_of(family)) == set(PERMISSIONS[family]) - {"export"}


@pytest.mark.parametrize(
    ("family", "operations", "unknown"),
    [
        (RSA, ("sign", "wrapKey"), None),
        (EC, ("sign", "encrypt"), "encrypt"),
        (AES, ("verify",), "verify"),
        (EC, (), None),
    ],
)
def test_operations_of_a_key_that_exists_are_those_of_its_type(
    family: KeyFamily, operations: tuple[str, ...], unknown: str | None
) -> None:
    if unknown is None:
        check_operations(family, operations)
        return
    with pytest.raises(PolicyViolationError) as refusal:
        check_operations(family, operations)
    assert refusal.value.field == "operations"
    assert refusal.value.detail.startswith(unknown)


@pytest.mark.parametrize("target", set(Target) - {Target.SOURCE})
def test_protection_follows_from_the_target(target: Target) -> None:
    expected = Protection.HSM if target.value.endswith("hsm") else Protection.SOFTWARE
    assert protection_of(target) is expected


@pytest.mark.parametrize(
    ("vault", "versions", "room"),
    [
        (VaultType.MANAGED_HSM, 99, True),
        (VaultType.MANAGED_HSM, 100, False),
        (VaultType.MANAGED_HSM, 101, False),
        (VaultType.STANDARD, 10_000, True),
        (VaultType.PREMIUM, 10_000, True),
    ],
)
def test_a_managed_hsm_takes_a_hundred_versions_of_a_key(vault: VaultType, versions: int, room: bool) -> None:
    if room:
        check_room(vault, versions)
        return
    with pytest.raises(ConflictError) as refusal:
        check_room(vault, versions)
    assert refusal.value.code == "version_limit"
