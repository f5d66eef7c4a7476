"""What the wire needs of the composition root: the services by name. `core.wiring.App` has them."""

from typing import Protocol

from core.ports import Clock, Sealer
from core.services.access import Access
from core.services.accounts import Accounts, CreateAccount
from core.services.api_keys import ApiKeys
from core.services.applications import Applications
from core.services.findings import Findings
from core.services.group_members import GroupMembers
from core.services.idempotency import Idempotency
from core.services.jobs import Jobs
from core.services.keys import Keys
from core.services.me import WhoAmI
from core.services.members import Members
from core.services.syncs import Syncs
from core.services.verify_api_key import VerifyApiKey


class Services(Protocol):
    """The wired services."""

    clock: Clock
    sealer: Sealer
    access: Access
    verify_api_key: VerifyApiKey
    idempotency: Idempotency
    create_account: CreateAccount
    accounts: Accounts
    members: Members
    applications: Applications
    group_members: GroupMembers
    who_am_i: WhoAmI
    api_keys: ApiKeys
    syncs: Syncs
    jobs: Jobs
    keys: Keys
    findings: Findings
