"""The ledger's events about accesses, agreements and tokens."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _

from portal.ledger.events import Group, LedgerEvent, register

from .reasons import AccessEnd, FamilyEnd, title_of


@register(access=Group.ACCESS, consent=Group.ACCESS, family=Group.ACCESS)
class Event(LedgerEvent):
    ACCESS_OPENED = "access.opened", _("App allowed to ask for permission")
    ACCESS_ENDED = "access.ended", _("All access ended")
    ACCESS_TERMS_CHANGED = "access.terms_changed", _("Requested permissions changed")
    CONSENT_CONFIRMED = "consent.confirmed", _("Agreement confirmed by an admin")
    CONSENT_DECLINED = "consent.declined", _("Permission declined")
    CONSENT_EXPIRED = "consent.expired", _("Agreement expired")
    CONSENT_GRANTED = "consent.granted", _("Agreed to the app’s permissions")
    CONSENT_RENEWED = "consent.renewed", _("Agreed again before the agreement ended")
    CONSENT_REPLACED = "consent.replaced", _("Agreed again, replacing the earlier agreement")
    CONSENT_REVOKED = "consent.revoked", _("Agreement revoked")
    CONSENT_REVOKED_FOR_ALL = "consent.revoked_for_all", _("All agents’ agreements revoked")
    CONSENT_TRIMMED = "consent.trimmed", _("Permissions removed")
    CONSENT_WIDENED = "consent.widened", _("More permissions allowed")
    FAMILY_REUSE_DETECTED = "family.reuse_detected", _("Token used twice: authorization ended")
    FAMILY_REVOKED = "family.revoked", _("Token revoked by the app")
    TOKENS_COUNTED = "access.tokens_counted", _("Ended tokens counted")

    def why(self, details: Mapping[str, Any]) -> str:
        kinds: dict[LedgerEvent, type[AccessEnd | FamilyEnd]] = {
            Event.ACCESS_ENDED: AccessEnd,
            Event.FAMILY_REUSE_DETECTED: FamilyEnd,
        }
        kind = kinds.get(self)
        recorded = super().why(details)
        return title_of(kind, recorded) if kind else recorded
