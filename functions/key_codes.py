"""The codes about keys and their material: family and meaning. `functions/codes.py` has them among all others."""

from collections.abc import Mapping
from types import MappingProxyType

from core.errors import (
    ConflictError,
    IntegrityError,
    InvalidRequestError,
    KeystewardError,
    NotFoundError,
    PolicyViolationError,
    VaultAnswerError,
    VaultOutcomeUnknownError,
    VaultUnavailableError,
)

_BAD, _CONFLICT, _REFUSED = InvalidRequestError, ConflictError, PolicyViolationError

# fmt: off
KEY_CODES: Mapping[str, tuple[type[KeystewardError], str]] = MappingProxyType({
    "date_not_removable": (_BAD, "Azure moves a date, but never takes one away."),
    "reason_invalid": (_BAD, "A reason is empty, too long, or holds unprintable characters."),
    "acknowledgement_needed": (_BAD, "A soft-deletion needs the word that the key is unusable at once."),
    "key_name_invalid": (_BAD, "A key's display name is missing, too long, or has a slash or unprintable characters."),
    "azure_name_invalid": (_BAD, "Azure does not take this as a key's name."),
    "key_kind_invalid": (_BAD, "Type, size and curve do not go together, or are not known."),
    "dates_invalid": (_BAD, "The dates leave no time to use the key."),
    "tags_invalid": (_BAD, "There are more or longer tags than Azure takes."),
    "release_policy_invalid": (_BAD, "Release policy and `exportable` do not go together, or it is no JSON object."),
    "field_for_other_kind": (_BAD, "The field belongs to keys of the other kind of group."),

    "material_encoding_invalid": (_BAD, "The material is not written as it says: base64, hex or PEM."),
    "material_too_large": (_BAD, "The material has more than 64 KiB."),
    "material_corrupt": (_BAD, "The material does not parse: it is damaged, cut off, or followed by something else."),
    "material_type_mismatch": (_BAD, "The material is a key of another type or kind than was said."),
    "material_size_not_allowed": (_BAD, "Keys of this size are taken nowhere."),
    "material_size_mismatch": (_BAD, "The material is a key of another size than was said."),
    "material_curve_not_allowed": (_BAD, "Keys on this curve, or with explicit curve parameters, are taken nowhere."),
    "material_curve_mismatch": (_BAD, "The material is a key on another curve than was said."),
    "material_kind_unsupported": (_BAD, "Keys of this algorithm are not supported."),
    "material_format_unsupported": (_BAD, "The format is known, and not one that is read; the detail names it."),
    "material_public_only": (_BAD, "This is a public key: the private one is needed."),
    "material_certificate": (_BAD, "This is a certificate: the private key is needed."),
    "material_inconsistent": (_BAD, "The numbers of the private key do not belong together."),
    "material_passphrase_required": (_BAD, "The private key is encrypted: its passphrase is needed."),
    "material_passphrase_wrong": (_BAD, "The passphrase does not decrypt the private key."),
    "material_passphrase_unexpected": (_BAD, "There is a passphrase, and the private key is not encrypted."),
    "material_passphrase_too_costly": (_BAD, "The private key's encryption costs more work than is done for one."),
    "material_ambiguous": (_BAD, "There are several keys, or octets without a type."),
    "material_exponent_not_allowed": (_BAD, "An RSA key's public exponent is not one that is taken."),
    "material_weak": (_BAD, "The key is obviously no random one."),
    "unwrap_failed": (_BAD, "The wrapping key is another one, or the wrapped key was altered."),
    "wrapped_material_malformed": (_BAD, "No wrapped key has this length."),
    "export_format_unsuitable": (_BAD, "The key cannot be exported in this format."),
    "export_passphrase_empty": (_BAD, "The passphrase of an export is empty."),
    "public_key_not_available": (_BAD, "A symmetric key has none; of old versions only the thumbprint is kept."),

    "transfer_blob_unreadable": (_BAD, "The transfer blob cannot be read; the detail says why."),
    "transfer_blob_kid": (_BAD, "The transfer blob does not name a version of a key exchange key."),
    "transfer_blob_refused": (_BAD, "The transfer blob cannot be imported here; `problems` names everything."),

    "escrow_not_found": (NotFoundError, "The key has no such escrow generation."),
    "key_version_not_found": (NotFoundError, "The key has no such version."),
    "key_exchange_key_not_found": (NotFoundError, "There is no such key exchange key."),

    "key_display_name_taken": (_CONFLICT, "Another key of the account has the name."),
    "key_name_taken": (_CONFLICT, "The vault has a key of this name; `ways_out` says what can be done."),
    "key_name_soft_deleted": (_CONFLICT, "A soft-deleted key holds the name; `ways_out` says what can be done."),
    "key_name_purged": (_CONFLICT, "A purged key had the name; `ways_out` says what can be done."),
    "key_name_raced": (_CONFLICT, "Somebody made a key of this name at the same moment, which has ours as a version."),
    "request_in_progress": (_CONFLICT, "The same request is being worked on."),
    "virtual_key": (_CONFLICT, "The key's material is in its vault: it can be neither copied nor exported."),
    "key_permission_missing": (_CONFLICT, "The source key itself does not have the permission that is named."),
    "key_not_active": (_CONFLICT, "The source key's state does not allow this use."),
    "wrapping_key_unsuitable": (_CONFLICT, "Keys of this type do not wrap, or not with this algorithm."),
    "targets_failed": (_CONFLICT, "Of a job with several targets: some of them failed; its results say why."),
    "vault_without_hsm": (_CONFLICT, "A standard vault takes no transfer blobs."),
    "key_exchange_key_unsuitable": (_CONFLICT, "The key cannot serve as key exchange key; the detail says why."),
    "key_action_pending": (_CONFLICT, "Another action on the key is under way."),
    "key_already_disabled": (_CONFLICT, "The key is disabled already."),
    "key_not_disabled": (_CONFLICT, "The key is not disabled."),
    "key_expired": (_CONFLICT, "The key is past its deactivation date: move that."),
    "key_live": (_CONFLICT, "The key is live in its vault."),
    "key_purged": (_CONFLICT, "The key is purged: restore it, or import it again."),
    "key_destroyed": (_CONFLICT, "The key and its escrow are destroyed."),
    "key_replaced": (_CONFLICT, "Another key has the key's name in the vault; sync the group."),
    "virtual_key_only": (_CONFLICT, "A source key is in no vault, so it cannot be deleted or restored there."),
    "escrow_needed": (_CONFLICT, "No verified escrow covers every version of the key."),
    "restore_elsewhere": (_CONFLICT, "Azure does not take the backup at this place."),
    "key_soft_deleted": (_CONFLICT, "The vault has the key as soft-deleted."),
    "key_being_deleted": (_CONFLICT, "The vault is deleting the key at the moment."),
    "key_being_recovered": (_CONFLICT, "The vault is recovering the key at the moment."),
    "vault_conflict": (_CONFLICT, "The vault finds a conflict with what it has."),
    "key_managed": (_CONFLICT, "The key belongs to a certificate of the vault, and lives with it."),
    "purge_protected": (_CONFLICT, "The vault has purge protection: it purges by itself, when the retention ends."),

    "key_not_allowed": (_REFUSED, "The target does not take such a key; `violations` names every reason."),
    "vault_refused": (_REFUSED, "The vault finds something wrong in the request; `azure_code` is its word for it."),

    "backup_refused": (VaultAnswerError, "The vault refuses to back the key up."),
    "restore_refused": (VaultAnswerError, "The vault does not take the backup."),
    "vault_still_working": (VaultUnavailableError, "The vault has accepted the request and is still at it."),
    "vault_outcome_unknown": (VaultOutcomeUnknownError, "The answer was lost: repeat with the same Idempotency-Key."),

    "material_missing": (IntegrityError, "A source key's sealed material is missing."),
    "material_altered": (IntegrityError, "Sealed material is not the key that it should be."),
})
# fmt: on
