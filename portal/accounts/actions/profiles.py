"""What a team shows of itself as a publisher, and whether staff confirm it."""

import hashlib
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from portal.foundation.database import lock
from portal.foundation.refusals import Refused
from portal.foundation.seals import seal
from portal.ledger.actions import record

from ..events import Event
from ..lookalikes import is_reserved, look_of, looks_within
from ..models import Team, TeamLogo, User
from ..rights import require_owner_or_staff, require_staff

# What staff confirm of a team when they verify it. With another one of these, it is verified no longer.
_CONFIRMED = ("name", "logo", "website", "support_url", "privacy_url")
_PLAIN = ("name", "website", "support_url", "privacy_url")


class NameIsTaken(Refused):
    field = "name"


class NothingToVerify(Refused):
    pass


class NotWaiting(Refused):
    pass


class ReasonMissing(Refused):
    pass


def seal_of(team: Team) -> str:
    """Seal what staff confirm of a team."""
    return seal("publisher profile", [str(team.public_id), *(getattr(team, name) for name in _CONFIRMED)])


@transaction.atomic
def change_profile(team: Team, *, by: User | None, **new: Any) -> Team:
    """Give a team another name, logo (a PNG of portal/foundation/pictures.py, or b"" for none), website or links.

    What is not named stays. A verified team whose profile changes is verified no longer, and one that asked for
    verification has to ask again. Raises NotStaff, NameIsTaken, ValidationError.
    """
    require_owner_or_staff(team, by)
    team = lock(Team, team.pk)
    png = new.pop("logo", None)
    if png is not None:
        new["logo"] = hashlib.sha256(png).hexdigest() if png else ""
    changed = [name for name, value in new.items() if value != getattr(team, name)]
    if not changed:
        return team
    if "name" in changed:
        take_name(team, new["name"])
    for name in changed:
        setattr(team, name, new[name])
    team.full_clean()
    ends = team.verified_at is not None
    # Nor is what staff were asked to check there any longer.
    team.verified_at = team.verification_asked_at = None
    team.save(update_fields=[*changed, "verified_at", "verification_asked_at"])
    if "logo" in changed:
        TeamLogo.objects.filter(team=team).delete()
        if png:
            TeamLogo.objects.create(team=team, png=png)
    subject = f"team:{team.public_id}"
    # The name before may be a person's, whom the ledger knows by id only (E2).
    shown = {name: getattr(team, name) for name in changed if name in _PLAIN}
    record(team.chain_name, Event.TEAM_PROFILE_CHANGED, by=by, subject=subject, changed=sorted(changed), **shown)
    if ends:
        record(team.chain_name, Event.TEAM_VERIFICATION_ENDED, by=by, subject=subject, changed=sorted(changed))
    return team


def verified_teams_within(name: str) -> QuerySet[Team]:
    """Return the verified teams whose name a name has in it."""
    # The index on looks has no empty ones.
    return Team.objects.exclude(look="").filter(look__in=looks_within(name)).exclude(verified_at=None)


def take_name(team: Team, name: str) -> None:
    """Give a locked team the look of a name, which no other team has.

    Nor may a product's or a verified team's name be in it. Raises NameIsTaken, ValidationError.
    """
    look = look_of(name)
    if not look:
        raise ValidationError({"name": _("Use letters or digits in the name.")})
    taken = _("This name looks like, or contains, the name of another team or a product. Choose another one.")
    if is_reserved(name) or verified_teams_within(name).exclude(pk=team.pk).exists():
        raise NameIsTaken(taken)
    try:
        # Of two teams that take it at once, the second waits for the first, and is refused.
        with transaction.atomic():
            Team.objects.filter(pk=team.pk).update(look=look)
    except IntegrityError:
        raise NameIsTaken(taken) from None


@transaction.atomic
def ask_for_verification(team: Team, *, by: User) -> Team:
    """Ask staff to confirm that a team is who it says it is. Raises NotStaff, NothingToVerify."""
    require_owner_or_staff(team, by)
    team = lock(Team, team.pk)
    if team.verified_at or team.verification_asked_at:
        raise NothingToVerify(_("%(team)s is already verified or waiting for verification.") % {"team": team})
    if not team.website:
        raise NothingToVerify(_("Add your website first: the portal team checks it."))
    Team.objects.filter(pk=team.pk).update(verification_asked_at=Now(), verification_refused="")
    team.refresh_from_db()
    record(team.chain_name, Event.TEAM_VERIFICATION_ASKED, by=by, subject=f"team:{team.public_id}")
    return team


@transaction.atomic
def refuse_verification(team: Team, *, reason: str, by: User) -> Team:
    """Tell a team, as staff, why it is not verified. Raises NotStaff, NotWaiting, ReasonMissing."""
    require_staff(by)
    if not reason.strip():
        raise ReasonMissing(_("Give a reason. The team will read it."))
    team = lock(Team, team.pk)
    if team.verification_asked_at is None:
        raise NotWaiting(_("%(team)s is not waiting for verification.") % {"team": team})
    Team.objects.filter(pk=team.pk).update(verification_asked_at=None, verification_refused=reason)
    team.refresh_from_db()
    record(team.chain_name, Event.TEAM_VERIFICATION_REFUSED, by=by, subject=f"team:{team.public_id}", reason=reason)
    return team
