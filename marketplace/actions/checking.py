"""Check what a version says of itself, each time it is saved, and before it is frozen."""

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from credentials.redirect_uris import validate

from ..models import Status, Version
from ..package.contents import Contents
from .picturing import check_icon, keep_screenshots


def _order(number: str) -> tuple[int, ...]:
    parts = [int(part) for part in number.split("-")[0].split(".")]
    return tuple(parts + [0] * (3 - len(parts)))


def check_fields(version: Version) -> None:
    """Put the fields of a draft in order, and keep its screenshots. Raises ValidationError."""
    version.screenshots = keep_screenshots(version.app, version.screenshots)
    check_icon(version.app, version.icon)
    client = version.app.client
    if version.package:
        version.required_scopes, version.optional_scopes = Contents.of(version).scopes
    version.required_scopes = sorted(set(version.required_scopes))
    version.optional_scopes = sorted(set(version.optional_scopes) - set(version.required_scopes))
    version.full_clean(exclude=["app", "created_by", "created_at", "icon", "submitted_at", "published_at"])
    others = version.app.versions.exclude(pk=version.pk).exclude(status=Status.TAKEN_BACK)
    if others.filter(number=version.number).exists():
        raise ValidationError({"number": _("Version %(number)s already exists.") % {"number": version.number}})
    judged = others.exclude(status__in=[Status.DRAFT, Status.SNAPSHOT])
    highest = max(judged.values_list("number", flat=True), key=_order, default="0.0")
    if _order(version.number) <= _order(highest):
        raise ValidationError({"number": _("Use a number higher than %(highest)s.") % {"highest": highest}})
    held = client.scope_names() if client else set()
    if beyond := sorted(version.scopes - held):
        raise ValidationError(
            _("The app’s credentials do not have %(scopes)s. Add them to the credentials first.")
            % {"scopes": ", ".join(beyond)}
        )
    if version.install_url:
        try:
            validate(version.install_url)
        except ValidationError as error:
            raise ValidationError({"install_url": error.message}) from None
