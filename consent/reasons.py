"""Why an access, a consent or a family ended: the values that rows and the ledger keep, each with its title."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class AccessEnd(models.TextChoices):
    UNINSTALLED = "uninstalled", _("Uninstalled")
    DISCARDED = "discarded", _("Discarded before the installation was finished")
    REVOKED = "revoked", _("Revoked by an admin")
    # Only of rows from before reasons were enumerated; `reason_note` has the words.
    OTHER = "other", _("Ended for another reason")


class ConsentEnd(models.TextChoices):
    REVOKED = "revoked", _("Revoked")
    REVOKED_FOR_ALL = "revoked_for_all", _("Revoked for all agents")
    REPLACED = "replaced", _("Replaced by a new agreement")
    EXPIRED = "expired", _("Expired")
    OTHER = "other", _("Ended for another reason")


class FamilyEnd(models.TextChoices):
    # Reuse (T6).
    REUSED = "reused", _("A refresh token was used again after it had been replaced")
    CODE_REUSED = "code_reused", _("The authorization code was used again")
    # By its client (RFC 7009).
    GIVEN_BACK = "given_back", _("Revoked by the app")
    # Stamps of the worker, later than what they tell of.
    ACCESS_ENDED = "access_ended", _("All access had ended")
    CONSENT_ENDED = "consent_ended", _("The agreement had ended")
    OTHER = "other", _("Ended for another reason")


# What the ledger's entries said before. They are hashed, so they keep it.
_FORMER = {
    "discarded before it was finished": AccessEnd.DISCARDED,
    "revoked by an admin": AccessEnd.REVOKED,
    "a refresh token was used again after it had been replaced": FamilyEnd.REUSED,
    "its authorization code was used again": FamilyEnd.CODE_REUSED,
}


def title_of(kind: type[models.TextChoices], recorded: str) -> str:
    """Return the title of a recorded reason, of today or from before; other words are returned unchanged."""
    value = _FORMER.get(recorded, recorded)
    return str(kind(value).label) if value in kind.values else recorded
