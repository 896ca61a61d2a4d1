"""What was granted: an account's access for a client, the consents under it, and what was issued on them."""

import uuid
from datetime import datetime
from typing import Any, Self

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _
from oauth2_provider.models import AbstractAccessToken, AbstractGrant

from credentials.models import Client
from portal.accounts.models import Account, Membership
from portal.foundation.encryption import EncryptedField

from .reasons import AccessEnd, ConsentEnd, FamilyEnd


class Why(models.TextChoices):
    """Why a request is refused, for developers to choose by; the texts of validity.py say it in full."""

    EXPIRED = "expired", _("Expired")
    AGREEMENT_EXPIRED = "agreement_expired", _("Agreement expired")
    REVOKED = "revoked", _("Revoked")
    REPLACED = "replaced", _("Replaced by a new agreement")
    UNINSTALLED = "uninstalled", _("Uninstalled")
    LEFT = "left", _("Agent left the account")
    TAKEN_BACK = "taken_back", _("Scope removed")
    SUSPENDED = "suspended", _("Suspended")
    REPLAYED = "replayed", _("Used twice")
    GIVEN_BACK = "given_back", _("Revoked by the app")
    LEAKED = "leaked", _("Ended after a leak")
    UNKNOWN = "unknown", _("Invalid code or token")
    SCOPE = "scope", _("Scope missing")
    NOT_OPEN = "not_open", _("Route not open to OAuth clients")
    NO_CONSENT = "no_consent", _("No agreement")
    SECRET = "secret", _("Wrong or missing secret")
    REQUEST = "request", _("Invalid request")


def scope_list() -> ArrayField:
    return ArrayField(models.CharField(max_length=120), default=list, blank=True)


def reason_of(kind: type[models.TextChoices]) -> models.CharField:
    return models.CharField(max_length=20, choices=kind, blank=True)


def reason_note() -> models.CharField:
    """The original words of an older reason that is not among the enumerated ones."""
    return models.CharField(max_length=200, blank=True, db_default="")


def reason_is_known(kind: type[models.TextChoices], name: str) -> models.CheckConstraint:
    return models.CheckConstraint(condition=Q(reason__in=["", *kind.values]), name=name)


class Access(models.Model):
    """One account's relation with one client. Every consent hangs on one; ended, it never lives again (T4)."""

    # The fast lane shares its lock (portal/foundation/database.py::lock).
    has_queue = True

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    client = models.ForeignKey(Client, on_delete=models.PROTECT, related_name="accesses")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="accesses")
    # The terms: what a platform client may be granted here. Empty for an external client.
    required_scopes = scope_list()
    optional_scopes = scope_list()
    app_name = models.CharField(max_length=80, blank=True)
    app_version = models.CharField(max_length=30, blank=True)
    installation_id = models.UUIDField(null=True, unique=True, editable=False)
    # Where the version reaches besides the company's products, by name: said on every page that asks for agreement.
    services = ArrayField(models.TextField(), default=list, blank=True)
    opened_at = models.DateTimeField(db_default=Now())
    opened_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    ended_at = models.DateTimeField(null=True)
    ended_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    reason = reason_of(AccessEnd)
    reason_note = reason_note()
    # Stamped by revoke_tokens, with what it counted then.
    revoked_at = models.DateTimeField(null=True)
    revoked_counts = models.JSONField(default=dict, blank=True)
    erased_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            # M6
            models.UniqueConstraint(
                fields=["client", "account"], condition=Q(ended_at=None), name="one_live_access_per_client_and_account"
            ),
            reason_is_known(AccessEnd, "access_reason_is_known"),
        ]
        indexes = [
            models.Index(fields=["ended_at"], condition=Q(revoked_at=None), name="access_to_revoke"),
            models.Index(fields=["ended_at"], condition=Q(erased_at=None), name="access_to_erase"),
            models.Index(fields=["account", "client"], name="access_of_account"),
            models.Index(
                fields=["account", "-opened_at", "id"],
                condition=Q(installation_id=None, ended_at=None),
                name="external_access_of_account",
            ),
            models.Index(
                fields=["account", "-opened_at", "id"], condition=Q(ended_at=None), name="live_access_of_account"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.client} · {self.account}"

    @property
    def name(self) -> str:
        """What the app is called here."""
        return self.app_name or self.client.name

    @property
    def why_ended(self) -> str:
        """The title of its end, or the original words if it ended before reasons were enumerated."""
        return self.reason_note or str(self.get_reason_display() or _("Ended"))

    @property
    def terms(self) -> set[str]:
        return {*self.required_scopes, *self.optional_scopes}


class ShownText(models.Model):
    """The words of a consent screen, each text kept once; `id` is their hash, which the ledger and receipts name."""

    id = models.CharField(max_length=64, primary_key=True, editable=False)
    words = models.JSONField()

    def __str__(self) -> str:
        return self.id


class Consent(models.Model):  # type: ignore[django-manager-missing]
    """What the account, or one agent of it, let the client do."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    access = models.ForeignKey(Access, db_index=False, on_delete=models.PROTECT, related_name="consents")
    membership = models.ForeignKey(Membership, null=True, on_delete=models.PROTECT, related_name="consents")
    granted = scope_list()
    left_off = scope_list()
    trimmed = scope_list()
    # What was read at the last Agree.
    text = models.ForeignKey(ShownText, null=True, db_index=False, on_delete=models.PROTECT, related_name="consents")
    # Raised by every change, so that a page shown before one is recognised as stale.
    revision = models.PositiveIntegerField(default=1)
    granted_at = models.DateTimeField()
    granted_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="consents_granted")
    expires_at = models.DateTimeField()
    # The admin who answers for it since whoever agreed for the account left; what was agreed stays as it was.
    confirmed_at = models.DateTimeField(null=True)
    confirmed_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    # When the admins were told that one of them should.
    successor_asked_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    revoked_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    reason = reason_of(ConsentEnd)
    reason_note = reason_note()
    # When the worker stamped and counted what ended with this consent.
    stamped_at = models.DateTimeField(null=True)
    # When a token was last issued under it, to within an hour: what is left of tokens that leave no family.
    last_issued_at = models.DateTimeField(null=True)
    # When somebody was last told that it ends soon: renewed, it ends later, and all is to be told again.
    told_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            # M6
            models.UniqueConstraint(
                fields=["access", "membership"],
                condition=Q(revoked_at=None),
                nulls_distinct=False,
                name="one_live_consent_per_access_and_membership",
            ),
            reason_is_known(ConsentEnd, "consent_reason_is_known"),
        ]
        indexes = [
            models.Index(fields=["access", "membership"], name="consent_of_access"),
            models.Index(fields=["expires_at"], condition=Q(revoked_at=None), name="consent_to_expire"),
            models.Index(fields=["expires_at"], condition=Q(reason=ConsentEnd.EXPIRED), name="consent_expired"),
            models.Index(fields=["revoked_at"], condition=Q(stamped_at=None), name="consent_to_stamp"),
            # What people agreed to for themselves.
            models.Index(
                fields=["granted_by", "-granted_at", "id"], condition=~Q(membership=None), name="consent_of_person"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.access} · {self.membership.user if self.membership else _('the account')}"

    @property
    def said(self) -> dict[str, Any]:
        """Which text was read at the last Agree, as entries of the ledger tell it."""
        return {"text_hash": self.text_id, "language": self.text.words["language"]} if self.text else {}

    @property
    def is_revoked_by_agent(self) -> bool:
        """True where its agent revoked it; whoever revoked it for all agents did so as an admin, also for themself."""
        return (
            self.reason == ConsentEnd.REVOKED
            and self.membership is not None
            and self.membership.user_id == self.revoked_by_id
        )

    @property
    def is_replaced(self) -> bool:
        return self.reason == ConsentEnd.REPLACED

    def is_over(self, now: datetime) -> bool:
        """True where it was ended or has expired; what a suspension holds back is not over."""
        return bool(self.revoked_at or self.access.ended_at or self.expires_at <= now)


class FamilyQuerySet(models.QuerySet):
    def ended_by_reuse(self) -> Self:
        """The families that reuse ended and whose consent nobody has given again since, newest first."""
        return self.filter(
            reason__in=[FamilyEnd.REUSED, FamilyEnd.CODE_REUSED],
            consent__revoked_at=None,
            consent__granted_at__lt=F("ended_at"),
        ).order_by("-ended_at")


class RefreshToken(models.Model):  # type: ignore[django-manager-missing]
    """A family: all refresh tokens that come from one authorization, as one row (T6)."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    consent = models.ForeignKey(Consent, on_delete=models.PROTECT, related_name="families")
    scope = models.TextField()
    salt = models.BinaryField(max_length=32)
    generation = models.BigIntegerField(default=1)
    created_at = models.DateTimeField(db_default=Now())
    current_made_at = models.DateTimeField(db_default=Now())
    previous_made_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    reason = reason_of(FamilyEnd)
    reason_note = reason_note()

    objects = FamilyQuerySet.as_manager()

    class Meta:
        constraints = [reason_is_known(FamilyEnd, "family_reason_is_known")]
        verbose_name = _("refresh token family")
        verbose_name_plural = _("refresh token families")

    def __str__(self) -> str:
        return str(self.id)


class AuthorizationCode(AbstractGrant):
    """An authorization code, hashed; used once, and kept for a day so that a replay is recognised."""

    claims = None
    nonce = None
    resource = None
    # The consent says whose and which client's it is.
    user = None
    application = None
    updated = None

    # The database's clock, as for every time that decides.
    created = models.DateTimeField(db_default=Now())
    code = models.CharField(max_length=64, unique=True)
    consent = models.ForeignKey(Consent, on_delete=models.PROTECT, related_name="codes")
    used_at = models.DateTimeField(null=True)
    family = models.ForeignKey(RefreshToken, null=True, on_delete=models.PROTECT, related_name="codes")

    class Meta:
        indexes = [models.Index(fields=["expires"], name="code_to_erase")]

    def __str__(self) -> str:
        return str(self.pk)

    __repr__ = __str__


class AccessToken(AbstractAccessToken):
    """An access token; only the SHA-256 of it is kept, as `token_checksum`."""

    # The consent says whose and which client's it is.
    user = None
    application = None
    token = None
    id_token = None
    source_refresh_token = None
    resource = None
    updated = None

    # The database's clock, as for every time that decides.
    created = models.DateTimeField(db_default=Now())
    consent = models.ForeignKey(Consent, on_delete=models.PROTECT, related_name="access_tokens")
    family = models.ForeignKey(RefreshToken, null=True, on_delete=models.PROTECT, related_name="access_tokens")
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["expires"], name="access_token_to_erase"),
            models.Index(fields=["revoked_at"], condition=~Q(revoked_at=None), name="access_token_given_back"),
        ]

    def __str__(self) -> str:
        return str(self.pk)

    __repr__ = __str__


class Trial(models.Model):
    """What one browser's session is trying with one client, forgotten within the hour.

    A key that only the browser has encrypts it, since it has tokens and a secret (T7).
    """

    # The SHA-256 of the session's key and the client's id: without the session's cookie nobody finds it.
    key = models.CharField(max_length=64, primary_key=True, editable=False)
    state: Any = EncryptedField()
    expires_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["expires_at"], name="trial_to_erase")]

    def __str__(self) -> str:
        return "trial"

    __repr__ = __str__


class Where(models.TextChoices):
    AUTHORIZE = "authorize", _("Authorization request")
    TOKEN = "token", _("Token endpoint")
    CHECK = "check", _("API call")
    INTROSPECTION = "introspection", _("Introspection by a product")


class Failure(models.Model):
    """How often, within an hour, a client was refused for one reason: its developers' log, which is kept for 30 days.

    It holds nothing that was sent. An account is named only where this client has, or had, a consent of it.
    """

    client = models.ForeignKey(Client, on_delete=models.PROTECT, related_name="failures", db_index=False)
    account = models.ForeignKey(Account, null=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    hour = models.DateTimeField()
    where = models.CharField(max_length=20, choices=Where)
    why = models.CharField(max_length=20, choices=Why)
    # The scopes of which the call needed one.
    scope = models.CharField(max_length=250, blank=True)
    # The parameter of the request that is wrong, of those that the portal knows.
    parameter = models.CharField(max_length=40, blank=True)
    error = models.CharField(max_length=40)
    # As the last of them was told.
    text = models.CharField(max_length=300, blank=True)
    times = models.BigIntegerField()
    last_at = models.DateTimeField()

    class Meta:
        ordering = ["-hour", "-last_at", "-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["client", "hour", "where", "why", "scope", "parameter", "account"],
                nulls_distinct=False,
                name="one_failure_per_hour_and_cause",
            )
        ]
        indexes = [models.Index(fields=["hour"], name="failure_to_erase")]

    def __str__(self) -> str:
        return f"{self.client_id} · {self.why} · {self.hour}"
