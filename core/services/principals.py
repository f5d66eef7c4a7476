"""Reading and conditionally writing the principals of an account, for the services of members and applications."""

from collections.abc import Callable

from core.domain.accounts import Principal, PrincipalKind
from core.errors import NotFoundError
from core.ports import Collection, Stored
from core.services.access import Access
from core.services.pages import Page, page_by_id

_NAMES = {PrincipalKind.USER: "member", PrincipalKind.APPLICATION: "application"}


class Principals:
    """The principals of accounts; whoever writes one makes `access` read it again."""

    def __init__(self, rows: Collection[Principal], access: Access) -> None:
        self._rows = rows
        self._access = access

    async def find(self, account: str, id_: str) -> Stored[Principal] | None:
        """Return the principal, or None."""
        return await self._rows.get(account, id_)

    async def get(self, account: str, id_: str, kind: PrincipalKind | None = None) -> Stored[Principal]:
        """Return the principal of that kind.

        NotFoundError: `member_not_found`, `application_not_found` or, of no certain kind, `principal_not_found`.
        """
        stored = await self._rows.get(account, id_)
        if stored is None or kind not in {None, stored.value.kind}:
            name = _NAMES[kind] if kind else "principal"
            raise NotFoundError(f"There is no such {name}.", code=f"{name}_not_found")
        return stored

    async def page(
        self, account: str, keep: Callable[[Principal], bool], *, after: str | None, limit: int
    ) -> Page[Stored[Principal]]:
        """Return a page of those that `keep` accepts."""
        return await page_by_id(self._rows.scan(account), keep, after=after, limit=limit)

    async def any(self, account: str, accept: Callable[[Principal], bool]) -> bool:
        """Whether `accept` accepts one of them."""
        async for _, stored in self._rows.scan(account):
            if accept(stored.value):
                return True
        return False

    async def insert(self, principal: Principal) -> Stored[Principal]:
        """Store a new principal; AlreadyExistsError."""
        return await self._rows.insert(principal.account, principal.id, principal)

    async def replace(self, principal: Principal, etag: str) -> Stored[Principal]:
        """Store over what was read with `etag`; StaleWriteError."""
        try:
            return await self._rows.replace(principal.account, principal.id, principal, etag)
        finally:
            self._access.forget(principal.account)

    async def delete(self, principal: Principal, etag: str) -> None:
        """Delete what was read with `etag`; StaleWriteError."""
        try:
            await self._rows.delete(principal.account, principal.id, etag)
        finally:
            self._access.forget(principal.account)
