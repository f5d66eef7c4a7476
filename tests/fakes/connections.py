"""Connections in memory: vaults that a subscription shows, and what reached them."""

from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from core.domain.connections import (
    ConnectionCause,
    ConnectionReport,
    ConnectionStage,
    OpenConnection,
    PermissionState,
    VaultFacts,
)
from core.errors import VaultAnswerError
from core.ports import Clock, VaultKeys


class ShownVaults:
    """`ports.Vaults` of a subscription that shows `vaults`; `cause` makes every test fail."""

    def __init__(self, clock: Clock, *vaults: VaultFacts) -> None:
        self.clock = clock
        self.vaults = list(vaults)
        self.cause: ConnectionCause | None = None
        self.tested: list[tuple[OpenConnection, VaultFacts | None]] = []

    def keys(self, group: str, connection: OpenConnection, vault: VaultFacts) -> AbstractAsyncContextManager[VaultKeys]:
        raise VaultAnswerError("there are no keys here")

    async def facts(self, connection: OpenConnection, vault: VaultFacts) -> VaultFacts:
        return vault

    async def test(self, connection: OpenConnection, vault: VaultFacts | None) -> ConnectionReport:
        self.tested.append((connection, vault))
        report = ConnectionReport(self.clock.now(), vaults=tuple(self.vaults))
        if self.cause is not None:
            return replace(report, cause=self.cause, stage=ConnectionStage.SIGN_IN, detail="It fails.", vaults=())
        return replace(report, permissions=(("get", PermissionState.HELD),)) if vault else report
