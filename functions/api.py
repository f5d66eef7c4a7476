"""All operations of the API."""

from functions.operations import Operation
from functions.resources import (
    accounts,
    api_keys,
    applications,
    copies,
    drills,
    exports,
    findings,
    group_members,
    groups,
    jobs,
    key_actions,
    key_reviews,
    keys,
    members,
    new_keys,
    platform,
    rotations,
    transfers,
)

_RESOURCES: tuple[Operation, ...] = (
    *accounts.OPERATIONS,
    *members.OPERATIONS,
    *applications.OPERATIONS,
    *api_keys.OPERATIONS,
    *groups.OPERATIONS,
    *group_members.OPERATIONS,
    *jobs.OPERATIONS,
    *drills.OPERATIONS,
    *keys.OPERATIONS,
    *key_actions.OPERATIONS,
    *key_reviews.OPERATIONS,
    *new_keys.OPERATIONS,
    *copies.OPERATIONS,
    *exports.OPERATIONS,
    *transfers.OPERATIONS,
    *rotations.OPERATIONS,
    *findings.OPERATIONS,
    *platform.OPERATIONS,
)

OPERATIONS: tuple[Operation, ...] = (*_RESOURCES, *platform.documentation(_RESOURCES))
