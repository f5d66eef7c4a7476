"""Finds keys that have expired or are about to, virtual and source keys alike, and clears what is past.

Invariant: the cost of an account is that of its keys with a date before the notice ends, and of its warnings; a finding
that is right already is not written again.
"""

import itertools
import logging
from collections.abc import AsyncIterator

from core.domain.accounts import Account
from core.domain.expiries import NOTICE, expiry_of
from core.domain.summaries import KeySummary, expiry_tree, from_entry, moment
from core.errors import KeystewardError
from core.ports import Clock, Collection, OrderedIndex
from core.services.findings import FindingCode, Findings, Subject

_CODES = frozenset({FindingCode.KEY_EXPIRED, FindingCode.KEY_EXPIRING})
_PAGE = 200
_WRITTEN_AT_ONCE = 500
_EXPIRED = "The key '{}' has been past its deactivation date since {:%Y-%m-%d}."
_EXPIRING = "The key '{}' reaches its deactivation date on {:%Y-%m-%d}."

_log = logging.getLogger(__name__)


class ExpiringKeys:
    """Raises and clears findings about expiry, in every account."""

    def __init__(self, accounts: Collection[Account], index: OrderedIndex, findings: Findings, clock: Clock) -> None:
        self._accounts = accounts
        self._index = index
        self._findings = findings
        self._clock = clock

    async def find(self) -> int:
        """Bring the findings of all accounts up to date; return how many keys have expired or are about to."""
        found = 0
        async for account, _ in self._accounts.scan("account"):
            try:
                found += await self._find_in(account)
            except KeystewardError as error:
                # One account must not keep the others waiting.
                _log.warning("expiring keys not looked for", extra={"account": account, "code": error.code})
        return found

    async def _find_in(self, account: str) -> int:
        now = self._clock.now()
        present: dict[tuple[FindingCode, Subject], str] = {}
        async for key in self._dated(account):
            date = expiry_of(key, now)
            if date is not None:
                expired = date <= now
                code = FindingCode.KEY_EXPIRED if expired else FindingCode.KEY_EXPIRING
                text = _EXPIRED if expired else _EXPIRING
                present[code, Subject(key.group, key.id)] = text.format(key.name, date)
        known = {about: detail async for about, detail in self._findings.of_codes(account, _CODES)}
        raised = [about for about, detail in present.items() if known.get(about) != detail]
        for some in itertools.batched(raised, _WRITTEN_AT_ONCE, strict=False):
            await self._findings.settle(account, {about: present[about] for about in some})
        for some in itertools.batched(known.keys() - present.keys(), _WRITTEN_AT_ONCE, strict=False):
            await self._findings.settle(account, {}, some)
        return len(present)

    async def _dated(self, account: str) -> AsyncIterator[KeySummary]:
        """Yield the keys whose date lies before the end of the notice."""
        end = moment(self._clock.now() + NOTICE)
        start: str | None = ""
        while start is not None and start <= end:
            page = await self._index.page(expiry_tree(account), start=start, limit=_PAGE)
            for position, entry in page.entries:
                if position[: len(end)] > end:
                    return
                yield from_entry(entry)
            start = f"{page.entries[-1][0]}\0" if page.next is not None else None
