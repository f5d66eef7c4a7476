"""An account with two groups, and the API as its admin calls it."""

import pytest

from tests.builders.http import AccountStage, Premises


@pytest.fixture
async def stage() -> AccountStage:
    premises = Premises()
    return AccountStage(premises, await premises.office.an_account())
