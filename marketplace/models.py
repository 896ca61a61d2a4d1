"""What may be asked: apps, their versions, and the installations of them."""

import uuid
from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.core.validators import MaxLengthValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from consent.models import Access
from credentials.models import Client
from portal.accounts.models import Account, Membership, Team
from portal.foundation.encryption import EncryptedField
from portal.foundation.text import validate_readable

from .choices import Audience, Category, OfferKind, Reach, Status, check_number, check_slug
from .querysets import ConnectionQuerySet, InstallationQuerySet, OfferQuerySet, VersionQuerySet


class App(models.Model):
    """A marketplace listing. Its address never changes; its client is set once (C4)."""

    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="apps")
    slug = models.SlugField(
        _("address"),
        max_length=50,
        unique=True,
        validators=[check_slug],
        error_messages={"unique": _("This address is taken.")},
    )
    # What its team called it at first; the newest version says what it is called.
    given_name = models.CharField(
        _("name"), max_length=60, blank=True, default="", db_default="", validators=[validate_readable]
    )
    client = models.OneToOneField(Client, null=True, blank=True, on_delete=models.PROTECT, related_name="app")
    # The accounts that a custom app lists (M3).
    # Slugs, whether or not such accounts exist: a developer must not learn who is a customer (E1).
    custom_accounts = ArrayField(models.SlugField(max_length=50), default=list, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")

    class Meta:
        ordering = ["slug"]
        indexes = [
            GinIndex(fields=["custom_accounts"], name="app_for_accounts"),
            models.Index(fields=["team", "slug"], name="apps_of_team"),
            models.Index(fields=["team", "-created_at", "-id"], name="apps_of_team_by_time"),
        ]

    def __str__(self) -> str:
        return self.slug


class VendorSecret(models.Model):
    """A vendor's client secret that the portal stores for one integration of an app; never shown again."""

    app = models.ForeignKey(App, on_delete=models.PROTECT, related_name="vendor_secrets")
    integration = models.CharField(max_length=50)
    secret: EncryptedField[str, str] = EncryptedField()
    saved_at = models.DateTimeField()
    saved_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["app", "integration"], name="one_vendor_secret_per_app_and_integration")
        ]

    def __str__(self) -> str:
        return f"{self.app} · {self.integration}"


class Version(models.Model):
    """A release of an app. Once it is more than a draft, it is frozen (M2, also by a trigger)."""

    app = models.ForeignKey(App, on_delete=models.PROTECT, related_name="versions")
    number = models.CharField(_("number"), max_length=30, validators=[check_number])
    release_notes = models.TextField(_("release notes"), max_length=4000, validators=[MaxLengthValidator(4000)])
    name = models.CharField(_("name"), max_length=60, validators=[validate_readable])
    tagline = models.CharField(_("tagline"), max_length=120, validators=[validate_readable])
    category = models.CharField(_("category"), max_length=20, choices=Category)
    description = models.TextField(_("description"), max_length=10000, validators=[MaxLengthValidator(10000)])
    # A PNG that we encoded ourselves, whatever was uploaded.
    icon = models.BinaryField(null=True, blank=True)
    # In their order: {"picture": a Picture’s key, "text": what it shows, for people who cannot see it}.
    screenshots = models.JSONField(default=list, db_default=[], blank=True)
    install_url = models.URLField(_("install URL"), max_length=500, blank=True)
    required_scopes = ArrayField(models.CharField(max_length=120), default=list, blank=True)
    optional_scopes = ArrayField(models.CharField(max_length=120), default=list, blank=True)
    # The files of its app package, by name, as marketplace/package/ checked them; empty if it has none.
    package = models.JSONField(default=dict, blank=True)
    status = models.CharField(max_length=10, choices=Status, default=Status.DRAFT)
    audience = models.CharField(max_length=10, choices=Audience, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    submitted_at = models.DateTimeField(null=True)
    published_at = models.DateTimeField(null=True)
    # Read by the admins who have it.
    withdrawn_because = models.CharField(max_length=500, blank=True)

    objects = VersionQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-pk"]
        constraints = [
            # A version that was taken back frees its number.
            models.UniqueConstraint(
                fields=["app", "number"], condition=~Q(status="taken_back"), name="one_version_per_app_and_number"
            ),
            models.CheckConstraint(condition=Q(status__in=Status.values), name="version_status_is_known"),
            models.CheckConstraint(condition=Q(category__in=Category.values), name="version_category_is_known"),
            models.CheckConstraint(
                condition=~Q(status__in=["in_review", "approved", "rejected", "published", "withdrawn", "taken_back"])
                | Q(audience__in=Audience.values),
                name="version_beyond_draft_has_an_audience",
            ),
        ]
        indexes = [
            models.Index(fields=["status", "-published_at"], name="version_by_status"),
            models.Index(
                fields=["app", "-published_at", "-id"], condition=Q(status="published"), name="published_version_of_app"
            ),
            models.Index(fields=["status", "submitted_at", "id"], name="version_to_review"),
            GinIndex(fields=["screenshots"], opclasses=["jsonb_path_ops"], name="version_with_picture"),
            models.Index(fields=["app", "-created_at", "-id"], name="version_of_app"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.number}"

    @property
    def is_frozen(self) -> bool:
        return self.status != Status.DRAFT

    @property
    def scopes(self) -> set[str]:
        return {*self.required_scopes, *self.optional_scopes}

    @cached_property
    def shots(self) -> list[dict[str, Any]]:
        """Its screenshots, each with its number and whether it was taken down."""
        keys = [shot["picture"] for shot in self.screenshots]
        there = (
            {*Picture.objects.filter(pk__in=keys, taken_down_at=None).values_list("pk", flat=True)} if keys else set()
        )
        return [
            {**shot, "number": number, "is_gone": shot["picture"] not in there}
            for number, shot in enumerate(self.screenshots, 1)
        ]


class Picture(models.Model):
    """A screenshot, a WebP that we encoded ourselves, by the SHA-256 of its app and itself; never changed, so that versions
    can share it (M2).

    One that was taken down is blank, and stays so that it is known if it comes again; so does an icon.
    """

    id = models.CharField(max_length=64, primary_key=True)
    webp = models.BinaryField(null=True)
    # When a draft last took it, or was found to have it; null once a frozen version has it, and so for good.
    kept_at = models.DateTimeField(null=True, db_default=Now())
    taken_down_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(webp__isnull=False) | Q(taken_down_at__isnull=False), name="a_blank_picture_was_taken_down"
            )
        ]
        indexes = [models.Index(fields=["kept_at"], condition=~Q(kept_at=None), name="picture_to_look_at")]

    def __str__(self) -> str:
        return self.id


class Listing(models.Model):
    """A version as the marketplace lists it, at most one for everyone and one for chosen accounts of each app.

    Written by a trigger when a version is published or withdrawn, and by nothing else.
    """

    app = models.ForeignKey(App, on_delete=models.PROTECT, related_name="listings")
    version = models.ForeignKey(Version, on_delete=models.PROTECT, related_name="+")
    reach = models.CharField(max_length=10, choices=Reach)
    name = models.CharField(max_length=60)
    category = models.CharField(max_length=20, choices=Category)
    published_at = models.DateTimeField()
    # The words of its name, address and tagline.
    search = SearchVectorField()

    class Meta:
        indexes = [
            GinIndex(fields=["search"], name="listing_by_words"),
            models.Index(fields=["-published_at", "-id"], name="listing_by_time"),
            models.Index(fields=["name", "id"], name="listing_by_name"),
            models.Index(fields=["category", "-published_at", "-id"], name="listing_in_category_by_time"),
            models.Index(fields=["category", "name", "id"], name="listing_in_category_by_name"),
        ]

    def __str__(self) -> str:
        return self.name


class Decision(models.TextChoices):
    APPROVED = "approved", _("Approved")
    REJECTED = "rejected", _("Rejected")


class Review(models.Model):
    """A reviewer's decision on a version of another team (M3)."""

    version = models.OneToOneField(Version, on_delete=models.PROTECT, related_name="review")
    reviewer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="reviews")
    decision = models.CharField(max_length=10, choices=Decision)
    reason = models.TextField(_("reason"), max_length=2000, blank=True)
    decided_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["decided_at"], name="review_by_time")]

    def __str__(self) -> str:
        return f"{self.version}: {self.get_decision_display()}"


class Installation(models.Model):
    """An account's installation of an app, at one version."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="installations")
    app = models.ForeignKey(App, on_delete=models.PROTECT, related_name="installations")
    version = models.ForeignKey(Version, on_delete=models.PROTECT, related_name="installations")
    # None if the version asks for nothing of the company's own products.
    access = models.OneToOneField(Access, null=True, on_delete=models.PROTECT, related_name="installation")
    # What the package asks at install: the `iparam.…` of its request templates.
    values: EncryptedField[dict[str, str], dict[str, str]] = EncryptedField(default=dict)
    # Whether versions that ask for nothing new are installed without a click.
    upgrades_itself = models.BooleanField(default=False, db_default=False)
    installed_at = models.DateTimeField(db_default=Now())
    installed_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    uninstalled_at = models.DateTimeField(null=True)
    uninstalled_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")

    objects = InstallationQuerySet.as_manager()

    class Meta:
        ordering = ["-installed_at"]
        constraints = [
            # M6
            models.UniqueConstraint(
                fields=["account", "app"],
                condition=Q(uninstalled_at=None),
                name="one_live_installation_per_account_and_app",
            )
        ]
        indexes = [
            models.Index(
                fields=["account", "-installed_at", "id"],
                condition=Q(uninstalled_at=None),
                name="live_installation_of_account",
            )
        ]

    def __str__(self) -> str:
        return f"{self.app} · {self.account}"


class Offer(models.Model):
    """A version offered to an installation of another version, and what became of the offer."""

    installation = models.ForeignKey(Installation, on_delete=models.PROTECT, related_name="offers")
    from_version = models.ForeignKey(Version, on_delete=models.PROTECT, related_name="+")
    # None if the version was withdrawn and no other is published.
    version = models.ForeignKey(Version, null=True, on_delete=models.PROTECT, related_name="offers")
    kind = models.CharField(max_length=10, choices=OfferKind)
    offered_at = models.DateTimeField(db_default=Now())
    told_at = models.DateTimeField(null=True)
    declined_at = models.DateTimeField(null=True)
    declined_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    taken_at = models.DateTimeField(null=True)

    objects = OfferQuerySet.as_manager()

    class Meta:
        ordering = ["-offered_at", "-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["installation", "from_version", "version"],
                nulls_distinct=False,
                name="one_offer_per_installation_and_step",
            ),
            models.CheckConstraint(condition=Q(kind__in=OfferKind.values), name="offer_kind_is_known"),
        ]
        indexes = [
            models.Index(fields=["kind"], condition=Q(told_at=None, taken_at=None), name="offer_to_act_on"),
        ]

    def __str__(self) -> str:
        return f"{self.installation} · {self.version or self.from_version}"


# The access token and, if the vendor gave one, the refresh token.
Tokens = dict[str, Any] | None


class Connection(models.Model):
    """An installation's connection to a vendor, for the account or for one agent. What it holds is encrypted and never shown."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    installation = models.ForeignKey(Installation, on_delete=models.PROTECT, related_name="connections")
    # The integration's name in the package, the same in every version.
    integration = models.CharField(max_length=50)
    membership = models.ForeignKey(Membership, null=True, on_delete=models.PROTECT, related_name="connections")
    # If it ended before its installation: the version that says how to revoke it at the vendor.
    version = models.ForeignKey(Version, null=True, on_delete=models.PROTECT, related_name="+")
    # What was filled in: the integration's `oauth_iparams.…`.
    values: EncryptedField[dict[str, str], dict[str, str]] = EncryptedField(default=dict)
    tokens: EncryptedField[Tokens, Tokens] = EncryptedField(null=True)
    # Raised whenever the tokens change, so that a stale read can be told.
    generation = models.PositiveIntegerField(default=0)
    connected_at = models.DateTimeField(null=True)
    connected_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    # When the access token expires, if the vendor says so, and when to refresh it.
    expires_at = models.DateTimeField(null=True)
    refresh_at = models.DateTimeField(null=True)
    refresh_failures = models.PositiveSmallIntegerField(default=0)
    # Whether the vendor gave a refresh token.
    renews = models.BooleanField(default=True, db_default=True)
    # How long an access token lives, in seconds, if the vendor says so.
    lifetime = models.PositiveBigIntegerField(null=True)
    missing_scopes = models.JSONField(default=list, db_default=[])
    # The vendor's revocation endpoint; empty if it has none, null if that was not looked up.
    revocation_url = models.TextField(null=True)  # noqa: DJ001
    # Set when the vendor refused for good, and a person has to connect again. `problem` has the vendor's words alone.
    broken_at = models.DateTimeField(null=True)
    problem = models.CharField(max_length=300, blank=True)
    told_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    ended_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    # Revoking at the vendor: how often it was tried, and when it is tried next.
    revoke_attempts = models.PositiveSmallIntegerField(default=0)
    revoke_at = models.DateTimeField(null=True)
    erased_at = models.DateTimeField(null=True)

    objects = ConnectionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["installation", "integration", "membership"],
                condition=Q(ended_at=None),
                nulls_distinct=False,
                name="one_live_connection_per_installation_integration_and_membership",
            ),
            models.CheckConstraint(
                condition=Q(erased_at=None) | Q(tokens=None), name="an_erased_connection_has_no_tokens"
            ),
        ]
        indexes = [
            models.Index(fields=["refresh_at"], condition=Q(ended_at=None), name="connection_to_refresh"),
            models.Index(fields=["installation"], condition=Q(erased_at=None), name="connection_to_erase"),
            models.Index(fields=["broken_at"], condition=Q(told_at=None), name="connection_to_tell_of"),
            models.Index(
                fields=["membership"],
                condition=Q(ended_at=None) & ~Q(broken_at=None),
                name="broken_connection_of_member",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.installation} · {self.integration}"

    __repr__ = __str__

    @property
    def is_connected(self) -> bool:
        return self.connected_at is not None and self.broken_at is None

    @property
    def why_broken(self) -> str:
        return self.problem or str(
            _("The vendor gave no reason.") if self.renews else _("The connection cannot be renewed.")
        )

    @property
    def ends_by_itself(self) -> bool:
        """Tell whether the access ends and the vendor gave no way to renew it."""
        return self.is_connected and self.expires_at is not None and not self.renews

    @property
    def is_brief(self) -> bool:
        """Tell whether an access token lives for less than ten minutes and is renewed."""
        return self.is_connected and self.renews and (self.lifetime or 600) < 600
