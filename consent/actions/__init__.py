"""What happens to accesses and consents, in story order: granting, issuing and refusing, succeeding, ending."""

from ..screen import Terms
from .ending import (
    AlreadyEnded,
    NotAnAdmin,
    NotGranted,
    NotYours,
    end_access,
    erase_batch,
    expire_consents,
    revoke_consent,
    revoke_for_all,
    revoke_tokens,
    trim_consent,
    what_ends,
)
from .failing import erase_failures, note_failure
from .granting import AccessIsOpen, ScreenIsStale, change_terms, decline_consent, grant_consent, open_access
from .issuing import InvalidGrant, InvalidScope, issue_code, revoke_token, token_for_one_call, use_up_code
from .succeeding import NotNeeded, confirm_consent

__all__ = [
    "AccessIsOpen",
    "AlreadyEnded",
    "InvalidGrant",
    "InvalidScope",
    "NotAnAdmin",
    "NotGranted",
    "NotNeeded",
    "NotYours",
    "ScreenIsStale",
    "Terms",
    "change_terms",
    "confirm_consent",
    "decline_consent",
    "end_access",
    "erase_batch",
    "erase_failures",
    "expire_consents",
    "grant_consent",
    "issue_code",
    "note_failure",
    "open_access",
    "revoke_consent",
    "revoke_for_all",
    "revoke_token",
    "revoke_tokens",
    "token_for_one_call",
    "trim_consent",
    "use_up_code",
    "what_ends",
]
