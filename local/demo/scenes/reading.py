"""Looking at keys: lists by filters, and one key in every detail."""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from azure.keyvault.keys.aio import KeyClient

from local.demo.client import Json, Keysteward
from local.demo.expect import expect
from local.demo.seeds import VAULTS
from local.demo.stage import Group, Stage

_SOON_DAYS = 30
_DETAILED = "settlement-root"
_DIGEST_SHOWN = 16


async def list_by_filters(stage: Stage, alice: Keysteward, groups: list[Group]) -> None:
    """List the keys of all groups in several ways, and check every number."""
    stage.show.scene("Keys of all vaults in one list, by filters")
    now = datetime.now(UTC).replace(microsecond=0)
    soon = {"expires_after": now.isoformat(), "expires_before": (now + timedelta(days=_SOON_DAYS)).isoformat()}
    states = {name: sum(vault.states[name] for vault in VAULTS) for name in ("deactivated", "pre_active")}
    payments = groups[0].vault.seeded
    asked: list[tuple[str, Mapping[str, str], int]] = [
        ("all keys", {}, sum(vault.total for vault in VAULTS)),
        ("disabled or expired", {"state": "deactivated"}, states["deactivated"]),
        ("not yet active", {"state": "pre_active"}, states["pre_active"]),
        ("expire within 30 days", soon, WEBSHOP_EXPIRING),
        ("RSA in hardware", {"type": "RSA-HSM"}, sum(vault.of_type("RSA-HSM") for vault in VAULTS)),
        ("tagged env=prod, in Payments", {"tag": "env=prod", "group": groups[0].id}, payments.tagged("env", "prod")),
        ("named like 'sign'", {"text": "sign"}, SIGNING),
    ]
    rows = []
    for words, query, wanted in asked:
        found = await alice.pages("keys", query)
        expect(f"keys that are {words}", len(found), wanted)
        rows.append((words, len(found), found[0]["name"]))
    stage.show.table(("Filter", "Keys", "The first one"), rows)
