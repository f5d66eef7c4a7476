"""What the state of a name allows: free, live, being deleted, deleted, being purged or being recovered."""

from local.emulator.keyvault.calls import Call
from local.emulator.keyvault.errors import being_deleted, being_recovered, deleted_but_recoverable
from local.emulator.keyvault.names import fold


def check_writable(call: Call) -> None:
    """Raise `Conflict` while the name is soft-deleted, or while a deletion, purge or recovery runs on it."""
    check_no_deletion_runs(call)
    folded = fold(call.name)
    if folded in call.store.deleted:
        raise deleted_but_recoverable(call.store.deleted[folded].key.name)
    check_no_recovery_runs(call)


def check_no_recovery_runs(call: Call) -> None:
    """Raise `Conflict` while a recovery runs on the name."""
    key = call.store.keys.get(fold(call.name))
    if key is not None and key.visible_at > call.now:
        raise being_recovered()


def check_no_deletion_runs(call: Call) -> None:
    """Raise `Conflict` while a deletion or purge runs on the name."""
    folded = fold(call.name)
    record = call.store.deleted.get(folded)
    if purge_runs(call, folded) or (record is not None and record.visible_at > call.now):
        raise being_deleted()


def purge_runs(call: Call, folded: str) -> bool:
    """Say whether a purge still blocks the name."""
    until = call.store.purging.get(folded)
    if until is None:
        return False
    if until > call.now:
        return True
    del call.store.purging[folded]
    return False
