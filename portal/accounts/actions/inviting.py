"""Invite people by mail. Accepting takes the token that only the mail has, and the address it went to."""

import datetime as dt
import hashlib
import secrets
from collections.abc import Sequence
from typing import Any

from allauth.account.models import EmailAddress
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from portal.foundation.broker import queue_on_commit
from portal.foundation.database import database_now, lock
from portal.foundation.mail import Mail, mail_once
from portal.foundation.models import MailKind
from portal.foundation.refusals import Refused
from portal.ledger.actions import record

from ..events import Event
from ..models import Account, Invitation, Membership, Role, Team, TeamMembership, User
from ..rights import require_inviter
from .memberships import AlreadyMember, OwnersAreAdmins, put_member
from .teams import lock_team, put_teammate

LIFETIME = dt.timedelta(days=7)


class AlreadyInvited(Refused):
    pass


class InvitationOver(Refused):
    """The invitation was used, taken back, or has expired."""


class NotInvited(Refused):
    """The invitation went to an address that this person has not verified."""


def hash_of(token: str) -> str:
    """Return the hash that is stored of a token. A token has 256 random bits, so a fast hash will do."""
    return hashlib.sha256(token.encode()).hexdigest()


def _lock_organisation(organisation: Account | Team) -> Account:
    return lock(Account, organisation.pk) if isinstance(organisation, Account) else lock_team(organisation)


def _queue(invitation: Invitation) -> None:
    """On commit, have a worker send the mail; without a broker the sweep finds it (T3)."""
    queue_on_commit("portal.accounts.tasks.tell_of_invitation", str(invitation.pk))


def _record(invitation: Invitation, event: Event, by: User | None, **details: Any) -> None:
    record(invitation.organisation.chain_name, event, by=by, subject=f"invitation:{invitation.pk}", **details)


@transaction.atomic
def invite(organisation: Account | Team, *, email: str, role: str, by: User) -> Invitation:
    """Invite whoever owns a mail address to an account or a team.

    Raises NotAnInviter, OwnersAreAdmins, AlreadyMember, AlreadyInvited, ValidationError.
    """
    _lock_organisation(organisation)
    require_inviter(organisation, by)
    email = email.lower()
    Invitation._meta.get_field("email").run_validators(email)
    target = {"account" if isinstance(organisation, Account) else "team": organisation}
    if isinstance(organisation, Account) and organisation.test_of_team_id and role == Role.ADMIN:
        raise OwnersAreAdmins(_("The team’s owners administer its test account. Invite an owner to the team instead."))
    # Members are no secret here, but whether anybody else has an account is.
    if organisation.memberships.filter(user__email=email, ended_at=None).exists():
        raise AlreadyMember(
            _("%(user)s already belongs to %(organisation)s.") % {"user": email, "organisation": organisation}
        )
    if Invitation.objects.open().filter(email=email, **target).exists():
        raise AlreadyInvited(_("%(email)s is already invited. Resend the invitation.") % {"email": email})
    invitation = Invitation.objects.create(
        email=email, role=role, invited_by=by, expires_at=database_now() + LIFETIME, **target
    )
    _queue(invitation)
    _record(invitation, Event.INVITATION_MADE, by, role=str(role))
    return invitation


def _open_one(invitation: Invitation, by: User) -> Invitation:
    """Return an invitation, locked with its account or team, for someone who may manage it. Raises NotAnInviter, InvitationOver."""
    _lock_organisation(invitation.organisation)
    require_inviter(invitation.organisation, by)
    lock(Invitation, invitation.pk)
    invitation = Invitation.objects.with_state().get(pk=invitation.pk)
    if invitation.accepted_at or invitation.revoked_at:
        raise InvitationOver(invitation.why_over())
    return invitation


@transaction.atomic
def resend_invitation(invitation: Invitation, *, by: User) -> Invitation:
    """Send an invitation again, in the name of `by`. From this commit the link in the earlier mail is dead.

    Raises NotAnInviter, InvitationOver.
    """
    invitation = _open_one(invitation, by)
    invitation.invited_by, invitation.token_hash, invitation.told_at = by, None, None
    invitation.expires_at = database_now() + LIFETIME
    invitation.save(update_fields=["invited_by", "token_hash", "told_at", "expires_at"])
    _queue(invitation)
    _record(invitation, Event.INVITATION_RESENT, by)
    return invitation


@transaction.atomic
def revoke_invitation(invitation: Invitation, *, by: User) -> Invitation:
    """Take an invitation back. Raises NotAnInviter, InvitationOver."""
    invitation = _open_one(invitation, by)
    Invitation.objects.filter(pk=invitation.pk).update(revoked_at=Now(), email="")
    _record(invitation, Event.INVITATION_REVOKED, by)
    return invitation


def is_for(invitation: Invitation, user: User) -> bool:
    """Tell whether the invited address is one that this person has verified."""
    # Compared here: in PostgreSQL, letters of different alphabets can be equal in upper case.
    proved = EmailAddress.objects.filter(user=user, verified=True).values_list("email", flat=True)
    return user.is_active and invitation.email in {address.lower() for address in proved}


@transaction.atomic
def accept_invitation(invitation: Invitation, *, by: User) -> Membership | TeamMembership:
    """Join the account or team; `invitation` was found by its token. Raises InvitationOver, NotInvited, AlreadyMember."""
    account, found_by = _lock_organisation(invitation.organisation), invitation.token_hash
    lock(Invitation, invitation.pk)
    invitation = Invitation.objects.with_state().get(pk=invitation.pk)
    if why := invitation.why_over():
        raise InvitationOver(why)
    if found_by is None or invitation.token_hash != found_by:
        raise InvitationOver(_("A newer email was sent. Open the link in that email."))
    if not is_for(invitation, by):
        raise NotInvited(_("This invitation was sent to an address that is not one of yours."))
    if invitation.organisation.memberships.filter(user=by, ended_at__gt=invitation.expires_at - LIFETIME).exists():
        # Whoever removed them did not know about this invitation.
        raise InvitationOver(_("You have left since this invitation was sent. Ask for a new one."))
    membership: Membership | TeamMembership
    role, sent = invitation.role, str(invitation.pk)
    if invitation.team:
        membership = put_teammate(account, invitation.team, by, role=role, by=by, invitation=sent)
    else:
        membership = put_member(account, by, role=role, by=by, invitation=sent)
    Invitation.objects.filter(pk=invitation.pk).update(accepted_at=Now(), accepted_by=by, email="")
    return membership


def tell_of_invitation(invitation: Invitation) -> None:
    """Mail an invitation, once. Its token is made for the mail; only its hash is stored."""
    # Locked, so that nobody resends or takes it back between its token and its mail.
    rows = Invitation.objects.with_state().select_for_update(no_key=True, of=("self",))
    rows = rows.filter(pk=invitation.pk, told_at=None)
    mail_once(f"invitation:{invitation.pk}", rows, _mail)


def _mail(rows: Sequence[Invitation]) -> Mail | None:
    (invitation,) = rows
    if invitation.why_over():
        return None
    token = secrets.token_urlsafe(32)
    Invitation.objects.filter(pk=invitation.pk).update(token_hash=hash_of(token))
    context = {"invitation": invitation, "token": token}
    return Mail(MailKind.INVITATION, "members/mail/invitation.txt", [invitation.email], context)


def invitations_to_mail() -> QuerySet[Invitation]:
    """Return the invitations that have not been mailed yet."""
    return Invitation.objects.open().filter(told_at=None, expires_at__gt=Now())
