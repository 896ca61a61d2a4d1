"""What versions, listings and offers are chosen by, and what can become of them."""

from django.core.validators import RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

# /apps/new/ is the page for making one.
check_slug = RegexValidator(
    r"^(?!new\Z)[a-z0-9]+(-[a-z0-9]+)*\Z",
    _("Use lowercase letters, digits and hyphens, such as ticket-insights. “new” is taken."),
)
check_number = RegexValidator(
    r"^(0|[1-9]\d{0,3})(\.(0|[1-9]\d{0,3})){1,2}\Z", _("Use a number such as 1.0 or 1.2.3, without leading zeros.")
)


class Category(models.TextChoices):
    COLLABORATION = "collaboration", _("Collaboration")
    DEVELOPMENT = "development", _("Development")
    HR = "hr", _("People and HR")
    MONITORING = "monitoring", _("Monitoring")
    PRODUCTIVITY = "productivity", _("Productivity")
    REPORTING = "reporting", _("Reporting")
    SECURITY = "security", _("Security")
    TELEPHONY = "telephony", _("Telephony")
    OTHER = "other", _("Other")


class Reach(models.TextChoices):
    """Who sees a listing."""

    ALL = "all", _("Everyone")
    # For the accounts that the app lists, a newer version takes its place.
    OTHERS = "others", _("Everyone but chosen accounts")
    CHOSEN = "chosen", _("Chosen accounts")


class Status(models.TextChoices):
    DRAFT = "draft", _("Draft")
    # A numbered copy of a draft, made to be installed on the team's test account (M2).
    SNAPSHOT = "snapshot", _("Test copy")
    IN_REVIEW = "in_review", _("In review")
    APPROVED = "approved", _("Approved")
    REJECTED = "rejected", _("Rejected")
    PUBLISHED = "published", _("Published")
    WITHDRAWN = "withdrawn", _("Withdrawn")
    # By its team, before a decision.
    TAKEN_BACK = "taken_back", _("Submission canceled")


class Audience(models.TextChoices):
    PUBLIC = "public", _("Public marketplace")
    CUSTOM = "custom", _("Chosen accounts")


class OfferKind(models.TextChoices):
    """What a published version means for an installation of an earlier one."""

    ASK = "ask", _("Waits for an admin to agree")
    CLICK = "click", _("An admin updates it with one click")
    ITSELF = "itself", _("Updates automatically")
    # The installed version was withdrawn.
    WITHDRAWN = "withdrawn", _("Its version was withdrawn")
