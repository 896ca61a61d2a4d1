"""People, the accounts they work in, and the teams that develop apps."""

import uuid
from datetime import datetime
from typing import Any, Self, cast

from django.contrib.auth.models import AbstractUser
from django.contrib.auth.models import UserManager as DjangoUserManager
from django.contrib.postgres.fields import ArrayField
from django.contrib.sessions.backends.base import SessionBase
from django.core.validators import URLValidator
from django.db import models
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from portal.foundation.models import MailKind
from portal.foundation.text import validate_address, validate_readable

# Whoever has not chosen a time zone reads times in this one.
DEFAULT_ZONE = "UTC"
# The group of people who review versions and suspend clients, made by a migration.
REVIEWERS = "Reviewers"


class UserManager(DjangoUserManager):
    def _make(self, email: str, password: str | None, **fields: Any) -> "User":
        user: User = self.model(email=self.normalize_email(email).lower(), **fields)  # type: ignore[assignment]
        user.set_password(password)
        user.full_clean()
        user.save(using=self._db)
        return user

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":  # type: ignore[override]
        return self._make(email, password, **fields)

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":  # type: ignore[override]
        """Make a staff user. Whoever can run this command need not verify the address by mail."""
        user = self._make(email, password, **{"is_staff": True, "is_superuser": True, **fields})
        user.emailaddress_set.create(email=user.email, verified=True, primary=True)  # type: ignore[attr-defined]
        return user


class User(AbstractUser):  # type: ignore[django-manager-missing]
    """A person, who signs in with email and password."""

    # The ledger names people by this id, so that a person can be forgotten and the chain still verifies (E2).
    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    username = None  # type: ignore[assignment]
    first_name = None  # type: ignore[assignment]
    last_name = None  # type: ignore[assignment]
    email = models.EmailField(_("email"), unique=True, validators=[validate_address])
    name = models.CharField(_("name"), max_length=80, blank=True, validators=[validate_readable])
    time_zone = models.CharField(_("time zone"), max_length=64, default=DEFAULT_ZONE)
    # The kinds of mail that they turned off. Kinds that are made later are on.
    unwanted_mail = ArrayField(
        models.CharField(max_length=20, choices=MailKind), default=list, db_default=[], blank=True, editable=False
    )

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS = []
    objects = UserManager()  # type: ignore[misc]

    class Meta:
        verbose_name = _("person")
        verbose_name_plural = _("people")

    def __str__(self) -> str:
        return self.name or self.email

    def get_full_name(self) -> str:
        return str(self)

    get_short_name = get_full_name


class Role(models.TextChoices):
    ADMIN = "admin", _("Admin")
    AGENT = "agent", _("Agent")


class Account(models.Model):
    """A customer's tenant. Its slug never changes and is never reused."""

    slug = models.SlugField(_("slug"), max_length=50, unique=True)
    name = models.CharField(_("name"), max_length=80, validators=[validate_readable])
    created_at = models.DateTimeField(auto_now_add=True)
    suspended_at = models.DateTimeField(null=True, blank=True, editable=False)
    test_of_team = models.OneToOneField(
        "Team", on_delete=models.PROTECT, null=True, blank=True, editable=False, related_name="test_account"
    )

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def chain_name(self) -> str:
        return f"account:{self.slug}"


class MembershipQuerySet(models.QuerySet):
    def live(self) -> Self:
        return self.filter(ended_at=None, user__is_active=True)

    def admins(self) -> Self:
        return self.live().filter(role=Role.ADMIN)

    def administered_by(self, user: User) -> Any:
        """Return the ids of the accounts that a person administers."""
        return self.admins().filter(user=user).values("account")

    def people(self) -> QuerySet[User]:
        return User.objects.filter(pk__in=self.values("user")).order_by("pk")


class Membership(models.Model):
    """A person's membership of an account. Once ended it never lives again (T4): coming back makes a new one."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="memberships")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="memberships")
    role = models.CharField(_("role"), max_length=10, choices=Role)
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = MembershipQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user", "account"], condition=Q(ended_at=None), name="one_live_membership_per_user_and_account"
            ),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="membership_role_is_known"),
        ]

    def __str__(self) -> str:
        return f"{self.user} · {self.account}"


class TeamRole(models.TextChoices):
    OWNER = "owner", _("Owner")
    MEMBER = "member", _("Member")


def _link(label: Any) -> Any:
    return models.URLField(label, max_length=200, blank=True, db_default="", validators=[URLValidator(["https"])])


class Team(models.Model):  # type: ignore[django-manager-missing]
    """The developers who own clients and apps together."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(_("name"), max_length=80, validators=[validate_readable])
    created_at = models.DateTimeField(auto_now_add=True)
    # What its name is taken for (lookalikes.py); empty until the team chooses a name.
    look = models.TextField(blank=True, db_default="", editable=False)
    # The SHA-256 of its logo; empty if it has none.
    logo = models.CharField(max_length=64, blank=True, db_default="", editable=False)
    website = _link(_("website"))
    support_url = _link(_("support page"))
    privacy_url = _link(_("privacy policy"))
    verified_at = models.DateTimeField(null=True, blank=True, editable=False)
    verification_asked_at = models.DateTimeField(null=True, blank=True, editable=False)
    # Why staff did not verify it when it last asked.
    verification_refused = models.TextField(blank=True, db_default="", editable=False)

    class Meta:
        ordering = ["name", "pk"]
        constraints = [models.UniqueConstraint(fields=["look"], condition=~Q(look=""), name="one_team_per_look")]
        indexes = [
            models.Index(
                fields=["verification_asked_at"], condition=~Q(verification_asked_at=None), name="team_to_verify"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def chain_name(self) -> str:
        return f"team:{self.public_id}"


class TeamLogo(models.Model):
    """A team's logo, a PNG that we encoded ourselves, apart from the team, which most pages read."""

    team = models.OneToOneField(Team, on_delete=models.CASCADE, primary_key=True, related_name="picture")
    png = models.BinaryField()

    def __str__(self) -> str:
        return str(self.team)


class TeamMembershipQuerySet(models.QuerySet):
    def live(self) -> Self:
        return self.filter(ended_at=None, user__is_active=True)

    def owners(self) -> Self:
        return self.live().filter(role=TeamRole.OWNER)


class TeamMembership(models.Model):
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="team_memberships")
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="memberships")
    role = models.CharField(_("role"), max_length=10, choices=TeamRole)
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = TeamMembershipQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user", "team"], condition=Q(ended_at=None), name="one_live_team_membership_per_user_and_team"
            ),
            models.CheckConstraint(condition=Q(role__in=TeamRole.values), name="team_membership_role_is_known"),
        ]

    def __str__(self) -> str:
        return f"{self.user} · {self.team}"


class InvitationQuerySet(models.QuerySet):
    def open(self) -> Self:
        """Return the invitations neither used nor taken back. They may have expired, and can be sent again."""
        return self.filter(accepted_at=None, revoked_at=None)

    def with_state(self) -> Self:
        """Join what an invitation's validity depends on (T2), and the database's clock as `now`."""
        sender = {"user": OuterRef("invited_by")}
        admin = Membership.objects.admins().filter(account=OuterRef("account"), **sender)
        owner = TeamMembership.objects.owners().filter(team=OuterRef("team"), **sender)
        return self.select_related("account__test_of_team", "team__test_account", "invited_by").annotate(
            now=Now(), sender_may=Exists(admin) | Exists(owner)
        )

    def opened_in(self, session: SessionBase) -> "Invitation | None":
        """Return the invitation whose link was opened last in a browser’s session, or None."""
        opened = session.get("invitation")
        return self.with_state().filter(token_hash=opened).first() if opened else None  # type: ignore[return-value]

    def run_by(self, user: User) -> Self:
        """Return the invitations that a person may resend and take back: to accounts they administer and teams they own (E1)."""
        accounts = Membership.objects.administered_by(user)
        teams = TeamMembership.objects.owners().filter(user=user).values("team")
        return self.filter(Q(account__in=accounts) | Q(team__in=teams))


class Invitation(models.Model):
    """An offer of membership to a mail address. The token is in the mail, and stored as a hash."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    account = models.ForeignKey(Account, null=True, on_delete=models.PROTECT, related_name="invitations")
    team = models.ForeignKey(Team, null=True, on_delete=models.PROTECT, related_name="invitations")
    # Empty once it was used or taken back, since nobody needs it then.
    email = models.EmailField(blank=True, validators=[validate_address])
    role = models.CharField(max_length=10)
    invited_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()
    # Null until a worker makes the token as it sends the mail.
    token_hash = models.CharField(max_length=64, null=True, unique=True)  # noqa: DJ001
    told_at = models.DateTimeField(null=True)
    accepted_at = models.DateTimeField(null=True)
    accepted_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="+")
    revoked_at = models.DateTimeField(null=True)
    # Read by `with_state`.
    now: datetime
    sender_may: bool

    objects = InvitationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["account", "team", "email"],
                condition=Q(accepted_at=None, revoked_at=None),
                nulls_distinct=False,
                name="one_open_invitation_per_place_and_address",
            ),
            models.CheckConstraint(
                condition=Q(account__isnull=False, team=None, role__in=Role.values)
                | Q(account=None, team__isnull=False, role__in=TeamRole.values),
                name="invitation_is_to_one_place_in_a_role_of_it",
            ),
        ]
        indexes = [models.Index(fields=["expires_at"], condition=Q(told_at=None), name="invitation_to_mail")]

    def __str__(self) -> str:
        return str(self.pk)

    __repr__ = __str__

    @property
    def organisation(self) -> Account | Team:
        # A constraint says that it has one of them.
        return self.account or cast(Team, self.team)

    def get_role_display(self) -> str:
        return str((Role if self.account_id else TeamRole)(self.role).label)

    def why_over(self) -> str:
        """Return why nobody can accept this any more, or "" if somebody can. The row must be read `with_state`."""
        if self.accepted_at:
            return gettext("This invitation was already used. It works only once.")
        if self.revoked_at:
            return gettext("This invitation was canceled. Ask the person who invited you.")
        if self.expires_at <= self.now:
            return gettext("This invitation has expired. Ask the person who invited you to resend it.")
        if not self.sender_may:
            return gettext(
                "The person who sent this invitation can no longer invite people there. Ask someone else to resend it."
            )
        return ""


class NoticeKind(models.TextChoices):
    SUBMITTED = "submitted", _("Submitted for review")
    TAKEN_BACK = "taken_back", _("Submission canceled")
    APPROVED = "approved", _("Approved")
    REJECTED = "rejected", _("Rejected")
    SUSPENDED = "suspended", _("Suspended")
    LIFTED = "lifted", _("Suspension lifted")
    LIFTED_AFTER_LEAK = "lifted_after_leak", _("Suspension lifted, earlier tokens and secrets ended")

    @property
    def is_about_suspension(self) -> bool:
        return self in (NoticeKind.SUSPENDED, NoticeKind.LIFTED, NoticeKind.LIFTED_AFTER_LEAK)


class Notice(models.Model):
    """A mail to a team's developers, or to the reviewers, about a version or OAuth credentials of the team."""

    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="notices")
    to_reviewers = models.BooleanField()
    kind = models.CharField(max_length=20, choices=NoticeKind)
    # What it is about, and the page that shows it.
    name = models.CharField(max_length=100)
    path = models.CharField(max_length=200)
    reason = models.TextField(blank=True)
    made_at = models.DateTimeField(db_default=Now())
    told_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(kind__in=NoticeKind.values), name="notice_kind_is_known")]
        indexes = [
            models.Index(fields=["made_at"], condition=Q(told_at=None), name="notice_to_mail"),
            models.Index(fields=["team", "told_at"], condition=Q(to_reviewers=True), name="notice_told_to_reviewers"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.name}"


class SuspensionNotice(models.Model):
    """Mails to the admins of all accounts that a suspension, or its end, concerns."""

    kind = models.CharField(max_length=20, choices=NoticeKind)
    # As the ledger names it: `account:<slug>` or `client:<id>`.
    subject = models.CharField(max_length=120)
    name = models.CharField(max_length=100)
    # Who can say more, besides the portal team.
    developer = models.CharField(max_length=80, blank=True)
    made_at = models.DateTimeField(db_default=Now())
    # The admins up to this one, by key, were told; all were at `told_at`.
    told_up_to = models.BigIntegerField(default=0)
    told_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=[kind for kind in NoticeKind if kind.is_about_suspension]),
                name="suspension_notice_kind_is_known",
            )
        ]
        indexes = [
            models.Index(fields=["made_at"], condition=Q(told_at=None), name="suspension_to_mail"),
            models.Index(fields=["subject", "id"], name="suspensions_of_a_subject"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.name}"
