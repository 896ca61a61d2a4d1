"""What a version and a listing are chosen by."""

from django.db import models
from django.utils.translation import gettext_lazy as _


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
