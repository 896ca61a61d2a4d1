"""Who is asking: products and their scopes, clients, and the secrets that prove who they are."""

import uuid
from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from oauth2_provider.models import AbstractApplication

from portal.accounts.models import Team
from portal.foundation.text import validate_readable

from .redirect_uris import hosted, matches


class Product(models.Model):
    """A system of the company that publishes scopes (a resource server)."""

    slug = models.SlugField(max_length=50, unique=True)
    name = models.CharField(max_length=80)
    # The base URL of its API, in canonical form (credentials/resources.py); empty until staff set it.
    base_address = models.CharField(max_length=200, blank=True)
    # Another one for each import of its scopes and endpoints, which a process may keep under it.
    published = models.UUIDField(default=uuid.uuid4, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["base_address"], condition=~Q(base_address=""), name="one_product_per_base_address"
            )
        ]

    def __str__(self) -> str:
        return self.name


class RiskPolicy(models.TextChoices):
    """What a level of risk demands. Levels go from lowest to highest; one that is added above HIGH demands what HIGH does."""

    @property
    def needs_justification(self) -> bool:
        """Tell whether a developer has to say why an app needs such a scope."""
        return self._is_at_least("HIGH")

    @property
    def is_for_verified_teams(self) -> bool:
        """Tell whether an unverified team's external client gets such a scope only on its own test account (M3)."""
        return self._is_at_least("HIGH")

    @property
    def tone(self) -> str:
        """The colour of its badge, as css/portal.css names it."""
        if self._is_at_least("HIGH"):
            return "danger"
        return "warning" if self._is_at_least("MEDIUM") else "success"

    def _is_at_least(self, name: str) -> bool:
        levels = list(type(self))
        return levels.index(self) >= levels.index(type(self)[name])

    @classmethod
    def for_verified_teams(cls) -> list[str]:
        return [level.value for level in cls if level.is_for_verified_teams]


class Risk(RiskPolicy):
    LOW = "low", _("Low risk")
    MEDIUM = "medium", _("Medium risk")
    HIGH = "high", _("High risk")


class Scope(models.Model):
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="scopes")
    name = models.CharField(max_length=120, unique=True)
    sentence = models.CharField(max_length=200)
    risk = models.CharField(max_length=10, choices=Risk)
    deprecated_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["name"]
        constraints = [models.CheckConstraint(condition=Q(risk__in=Risk.values), name="scope_risk_is_known")]

    def __str__(self) -> str:
        return self.name

    @property
    def risk_level(self) -> RiskPolicy:
        return Risk(self.risk)


class Endpoint(models.Model):
    """A published route of a product and the scopes of which a call needs one. Without scopes, OAuth clients cannot call it."""

    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="endpoints")
    method = models.CharField(max_length=10)
    # A path template such as /api/v2/tickets/{id}.
    path = models.CharField(max_length=200)
    # The same, as an anchored regular expression.
    pattern = models.CharField(max_length=400)
    scopes = ArrayField(models.CharField(max_length=120), default=list)

    class Meta:
        ordering = ["path", "method"]
        constraints = [
            models.UniqueConstraint(fields=["product", "method", "path"], name="one_endpoint_per_method_and_path")
        ]
        indexes = [GinIndex(fields=["scopes"], name="endpoint_of_scope")]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def is_safe(self) -> bool:
        """Tell whether its method is safe: a call changes nothing (RFC 9110 section 9.2.1)."""
        return self.method in ("GET", "HEAD", "OPTIONS")


class ProductSecret(models.Model):
    """What a product authenticates with at introspection. Stored hashed, shown once."""

    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="secrets")
    hash = models.CharField(max_length=64, unique=True)
    prefix = models.CharField(max_length=20)
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.prefix}…"


class Kind(models.TextChoices):
    PLATFORM = "platform", _("Marketplace")
    EXTERNAL = "external", _("External")


class Level(models.TextChoices):
    ACCOUNT = "account", _("An account admin, for the whole account")
    AGENT = "agent", _("Each agent, for themselves")


# The same, as a filter of lists says it.
WHO_AUTHORIZES = [(Level.ACCOUNT, _("An admin")), (Level.AGENT, _("Each agent"))]


class Client(AbstractApplication):
    """One set of OAuth credentials. Never deleted (C1); its name, kind and level never change (C4)."""

    # Fields of the toolkit that this server does not use: secrets live in ClientSecret (C3), every client is
    # confidential (T8), and nothing skips a screen.
    client_secret = None
    hash_client_secret = None
    post_logout_redirect_uris = None
    algorithm = None
    allowed_origins = None
    registration_source = None
    cimd_expires_at = None
    client_type = AbstractApplication.CLIENT_CONFIDENTIAL
    authorization_grant_type = AbstractApplication.GRANT_AUTHORIZATION_CODE
    skip_authorization = False

    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="clients")
    # The creator. The toolkit's own field would cascade.
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="clients_created")
    name = models.CharField(_("name"), max_length=60, validators=[validate_readable])
    description = models.CharField(_("description"), max_length=500, blank=True)
    kind = models.CharField(max_length=10, choices=Kind)
    level = models.CharField(max_length=10, choices=Level)
    suspended_at = models.DateTimeField(null=True, blank=True, editable=False)
    # Codes, families and access tokens made before this time have ended for good.
    not_before = models.DateTimeField(null=True, blank=True, editable=False)
    # Made by one press, to try the flow with; of which a team has one set.
    is_for_trying = models.BooleanField(default=False, db_default=False, editable=False)

    class Meta:
        ordering = ["-created"]
        verbose_name = _("OAuth credentials")
        verbose_name_plural = _("OAuth credentials")
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=Kind.values), name="client_kind_is_known"),
            models.CheckConstraint(condition=Q(level__in=Level.values), name="client_level_is_known"),
            models.UniqueConstraint(
                fields=["team"], condition=Q(is_for_trying=True), name="one_set_of_test_credentials_per_team"
            ),
        ]
        indexes = [
            models.Index(fields=["team", "-created", "-id"], name="clients_of_team"),
            models.Index(fields=["team"], condition=~Q(suspended_at=None), name="suspended_clients_of_team"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_platform(self) -> bool:
        return self.kind == Kind.PLATFORM

    @property
    def is_agent_level(self) -> bool:
        return self.level == Level.AGENT

    @property
    def is_unverified(self) -> bool:
        return self.team.verified_at is None

    def scope_names(self) -> set[str]:
        return set(self.scopes.values_list("scope__name", flat=True))

    def clean(self) -> None:
        """Skip the toolkit's checks: redirect_uris.py is the home of that rule (C5)."""

    def is_usable(self, request: HttpRequest) -> bool:
        return self.suspended_at is None

    def allows_grant_type(self, *grant_types: Any) -> bool:
        allowed = {self.GRANT_AUTHORIZATION_CODE}
        if not self.is_agent_level:
            allowed.add(self.GRANT_CLIENT_CREDENTIALS)
        return bool(allowed & set(grant_types))

    def redirect_uri_allowed(self, uri: str) -> bool:
        return (self.is_platform and uri in hosted()) or any(
            matches(registered, uri) for registered in self.redirect_uris.split()
        )


class ClientSecret(models.Model):
    """A secret of a client, of which at most two are active at a time (C3). Stored hashed, shown once."""

    client = models.ForeignKey(Client, on_delete=models.PROTECT, related_name="secrets")
    hash = models.CharField(max_length=64, unique=True)
    prefix = models.CharField(max_length=20)
    created_at = models.DateTimeField(db_default=Now())
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    # Made to try the flow with; it never becomes the current one.
    is_for_trying = models.BooleanField(default=False, db_default=False)

    class Meta:
        ordering = ["-created_at", "-pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(is_for_trying=False) | Q(expires_at__isnull=False), name="secret_for_trying_expires"
            ),
            models.UniqueConstraint(
                fields=["client"], condition=Q(expires_at=None), name="one_secret_without_expiry_per_client"
            ),
        ]
        indexes = [models.Index(fields=["expires_at"], condition=~Q(expires_at=None), name="secret_that_expires")]

    def __str__(self) -> str:
        return f"{self.prefix}…"


class ClientScope(models.Model):
    """A scope of a client. Rows are only ever inserted (C2)."""

    client = models.ForeignKey(Client, on_delete=models.PROTECT, related_name="scopes")
    scope = models.ForeignKey(Scope, on_delete=models.PROTECT, related_name="client_scopes")
    justification = models.CharField(max_length=500, blank=True)
    added_at = models.DateTimeField(db_default=Now())
    added_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")

    class Meta:
        ordering = ["-added_at", "scope__name"]
        constraints = [models.UniqueConstraint(fields=["client", "scope"], name="one_row_per_client_and_scope")]

    def __str__(self) -> str:
        return str(self.scope)
