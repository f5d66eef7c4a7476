"""Where keys are in the ordered lists."""

import itertools

import pytest

from core.domain.keys import Validity
from core.domain.summaries import account_positions, expiry_tree, name_tree, summary_of, update_tree
from tests.builders.keys import ACCOUNT, CREATED, a_key, a_version


@pytest.mark.parametrize("tree", [name_tree(ACCOUNT), expiry_tree(ACCOUNT), update_tree(ACCOUNT)])
@pytest.mark.parametrize("expires_on", [None, CREATED])
def test_keys_that_share_a_date_lie_in_the_order_of_their_names(tree: str, expires_on: object) -> None:
    version = a_version(validity=Validity(expires_on=expires_on))
    names = ["payments/A-key", "payments/b-key", "payments/C-key"]
    # Ids do not follow the names.
    keys = [a_key(version, id=f"key_{9 - number}", name=name) for number, name in enumerate(names)]
    positions = [account_positions(ACCOUNT, summary_of(key))[tree] for key in keys]
    assert all(before < after for before, after in itertools.pairwise(positions))
