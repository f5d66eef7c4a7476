"""What stands before the operations in the API's reference: its conventions, and who may do what."""

from core.domain.permissions import TABLE, Effect
from functions.codes import CODES
from functions.problems import status_of


def introduction() -> str:
    """Return the text, in Markdown."""
    return "\n".join(
        [_CONVENTIONS, "", "## Permissions", "", *_permission_table(), "", "## Error codes", "", *_code_table()]
    )


def _permission_table() -> list[str]:
    lines = ["| permission | on | what for | account roles | group roles |", "|---|---|---|---|---|"]
    for rule in TABLE:
        account_roles = ", ".join(sorted(rule.account_roles)) or "-"
        group_roles = ", ".join(sorted(rule.group_roles)) or (
            "granted one by one" if rule.effect is Effect.DESTROY else "-"
        )
        lines.append(f"| `{rule.permission}` | {rule.scope} | {rule.meaning} | {account_roles} | {group_roles} |")
    return lines


def _code_table() -> list[str]:
    lines = ["| code | status | meaning |", "|---|---|---|"]
    return [*lines, *(f"| `{name}` | {status_of(code.family)} | {code.meaning} |" for name, code in CODES.items())]


_CONVENTIONS = """\
Central management of the keys in Azure Key Vault and Azure Managed HSM.

- JSON in snake_case, times in UTC (RFC 3339), opaque ids. Unknown fields and parameters are refused.
- Errors are `application/problem+json` (RFC 9457) with a stable `code`.
- Lists are paged: `limit`, and `next` as the page before gave it.
- Writes take `Idempotency-Key`: the same request under the same key is done once, and answered alike for 24 hours.
- Exports take none, because their answers are not kept.
- A file comes within JSON, or as part `file` (at most 64 KiB) of a form whose part `request` is the JSON without it.
- A form needs `Authorization: Bearer`: a sign-in cookie is not enough.
- Updates demand `If-Match` with the `ETag` that was read.
- What takes longer than a request may is a job: 202 with `Location`.
- What a caller may not see does not exist for it (404); what it sees but may not do is 403 with the permission."""
