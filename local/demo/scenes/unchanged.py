"""What a sync costs when nothing changed: the requests that the vault counted."""

from collections import Counter
from math import ceil

from local.demo.client import Keysteward
from local.demo.expect import UnexpectedError, expect
from local.demo.scenes.syncing import sync
from local.demo.stage import Group, Stage

_VAULT_PAGE = 25
_BESIDE_PAGES = 2


async def count_requests(stage: Stage, alice: Keysteward, group: Group) -> None:
    """Sync a group in which nothing changed, and count what its vault was asked."""
    show = stage.show
    show.scene("A sync with nothing changed reads the vault's lists, and asks for no key")
    await stage.control.delete("counters")
    counts = (await sync(stage, alice, [group]))[0]
    counted = (await stage.control.get("counters"))["requests"]
    asked: Counter[str] = Counter()
    for row in counted:
        if row["service"] in {"keyvault", "arm", "entra"} and row["vault"] in {"", group.vault.seeded.name}:
            asked[f"{row['service']}: {row['operation']}"] += row["count"]
    show.table(("Request", "Times"), sorted(asked.items()))
    keys = counts["discovered"]
    expect("unchanged keys", counts["unchanged"], keys)
    deleted = (await alice.get(f"groups/{group.id}", quiet=True))["counts"]["soft_deleted"]
    pages = ceil((keys - deleted) / _VAULT_PAGE) + ceil(deleted / _VAULT_PAGE)
    if asked.total() > pages + _BESIDE_PAGES:
        raise UnexpectedError(f"{asked.total()} requests, where the lists have {pages} pages")
    stage.seen.append(("Sync with nothing changed", f"{asked.total()} requests for {keys} keys"))
