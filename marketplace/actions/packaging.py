"""Put an app package into a version, and keep vendors' secrets out of it."""

from collections.abc import Callable, Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.accounts.rights import require_teammate
from portal.foundation.database import lock

from ..models import App, Version
from ..package.checking import check_archive, check_values
from ..package.contents import Contents
from ..package.facts import Facts
from ..package.problems import Report
from ..vendors.secrets import keep_vendor_secret
from .publishing import Frozen, change_version


def take_package(version: Version, data: bytes, *, keep_secrets: bool, by: User) -> Report:
    """Check a package, the bytes of a .zip, and put it into a draft if nothing is wrong with it.

    With `keep_secrets`, the portal keeps vendors' secrets, encrypted, and takes them out of the package. A report that
    is not valid changed nothing. Raises NotATeammate, Frozen, ValidationError.
    """
    return _take(version, lambda facts: check_archive(data, facts), keep_secrets, {}, by)


def fill_package(
    version: Version, files: Mapping[str, Any], *, by: User, renamed: Mapping[str, str] | None = None
) -> Report:
    """The same with the files of a package as values, as a form has them; vendors' secrets are always kept apart.

    With the former names of integrations that were `renamed`, by their new ones, the secret kept for each is kept for
    it under its new name too; earlier versions go on using the former.
    """
    return _take(version, lambda facts: check_values(files, facts), True, renamed or {}, by)


@transaction.atomic
def _take(
    version: Version, check: Callable[[Facts], Report], keep_secrets: bool, renamed: Mapping[str, str], by: User
) -> Report:
    require_teammate(version.app.team, by)
    version = lock(Version, version.pk)
    if version.is_frozen:
        raise Frozen(_("This version was submitted and can no longer be changed. Create a new one."))
    app = lock(App, version.app_id)
    report = check(Facts(app, keeps_secrets=keep_secrets))
    if not report.valid:
        return report
    contents = Contents(report.files)
    secrets = dict(contents.literal_secrets()) if keep_secrets else {}
    carried = _carried(app, contents, renamed)
    version = change_version(version, by=by, package=contents.without_secrets() if secrets else report.files)
    for integration, secret in {**secrets, **carried}.items():
        keep_vendor_secret(app, integration, secret=secret, by=by)
    if secrets:
        # Check what is stored, so that the report is about that.
        sent, report = report, check_values(version.package, Facts(app))
        report.format, report.changes = sent.format, sent.changes
    return report


def _carried(app: App, contents: Contents, renamed: Mapping[str, str]) -> dict[str, str]:
    """The kept secrets that go with new names. Raises ValidationError where a name has one of another vendor."""
    kept = {row.integration: row.secret for row in app.vendor_secrets.all()}
    carried = {}
    for name, former in renamed.items():
        if contents.integrations[name].client_secret is not None or kept.get(name) == kept.get(former):
            continue
        if name in kept:
            raise ValidationError(
                _(
                    "The portal already stores a different client secret for “%(name)s”. Enter the right one, or use another name."
                )
                % {"name": name}
            )
        carried[name] = kept[former]
    return carried
