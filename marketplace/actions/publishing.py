"""Make apps and versions, review and publish them."""

from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.translation import gettext as _

from credentials.actions import ReasonMissing
from credentials.models import Client, Kind
from portal.accounts.actions.notifying import put_notices
from portal.accounts.models import NoticeKind, Team, User
from portal.accounts.rights import require_outside_reviewer, require_teammate
from portal.foundation.database import lock
from portal.foundation.refusals import Refused
from portal.foundation.seals import check_shown
from portal.ledger.actions import PORTAL, record

from ..events import Event
from ..models import App, Audience, Decision, Offer, OfferKind, Review, Status, Version
from ..package.checking import check_values
from ..package.contents import Contents
from ..package.facts import Facts
from ..package.problems import ERROR
from ..seals import seal_of, seal_with_accounts
from .checking import check_fields
from .offering import offer_another, offer_version, queue_offers
from .picturing import still_there

FIELDS = (
    "number", "release_notes", "name", "tagline", "category", "description", "icon", "screenshots", "install_url",
    "required_scopes", "optional_scopes", "package",
)  # fmt: skip
MAX_CUSTOM_ACCOUNTS, MAX_CUSTOM_VERSIONS, MAX_REASON = 500, 3, 500


class ClientTaken(Refused):
    field = "client"


class Frozen(Refused):
    pass


class StatusCannotMove(Refused):
    """A status moves only along the paths of M2."""


class NotReady(Refused):
    pass


class NothingPublished(Refused):
    pass


class AccountsMissing(Refused):
    field = "accounts"


class AccountNotListed(Refused):
    pass


class TooManyAccounts(Refused):
    field = "accounts"


class TooManyVersions(Refused):
    pass


@transaction.atomic
def create_app(team: Team, *, slug: str, name: str = "", client: Client | None = None, by: User) -> App:
    """Make an app. Its slug never changes. Raises NotATeammate, ClientTaken, ValidationError."""
    require_teammate(team, by)
    if client:
        # Before the ledger's chain, which record() locks (T11).
        client = lock(Client, client.pk)
    app = App(team=team, slug=slug, given_name=name.strip(), created_by=by)
    app.full_clean(exclude=["client"])
    app.save(force_insert=True)
    record(team.chain_name, Event.APP_CREATED, by=by, subject=f"app:{slug}", name=slug)
    return set_client(app, client, by=by) if client else app


@transaction.atomic
def set_client(app: App, client: Client, *, by: User) -> App:
    """Give an app its OAuth credentials, once and for all (C4). Raises NotATeammate, ClientTaken."""
    require_teammate(app.team, by)
    client = lock(Client, client.pk)
    app = lock(App, app.pk)
    if app.client_id:
        raise ClientTaken(_("This app already has OAuth credentials, which cannot be changed."))
    if client.team_id != app.team_id or client.kind != Kind.PLATFORM:
        raise ClientTaken(_("Choose marketplace credentials that belong to the app’s team."))
    if App.objects.filter(client=client).exists():
        raise ClientTaken(_("%(client)s already belongs to another app.") % {"client": client})
    app.client = client
    app.save(update_fields=["client"])
    record(
        app.team.chain_name,
        Event.APP_CLIENT_SET,
        by=by,
        subject=f"app:{app.slug}",
        client=client.client_id,
        name=app.slug,
    )
    return app


@transaction.atomic
def create_version(app: App, *, by: User, **fields: Any) -> Version:
    """Add a draft. `fields` are those of FIELDS; a new screenshot has `data`. Raises NotATeammate, ValidationError."""
    require_teammate(app.team, by)
    app = lock(App, app.pk)
    version = Version(app=app, created_by=by, **fields)
    check_fields(version)
    version.save(force_insert=True)
    _record(version, Event.VERSION_CREATED, by)
    return version


@transaction.atomic
def change_version(version: Version, *, by: User, **fields: Any) -> Version:
    """Change a draft. Raises NotATeammate, Frozen, ValidationError (M2)."""
    require_teammate(version.app.team, by)
    version = lock(Version, version.pk)
    if version.is_frozen:
        raise Frozen(_("This version was submitted and can no longer be changed. Create a new one."))
    for name, value in fields.items():
        if name not in FIELDS:
            raise TypeError(name)
        setattr(version, name, value)
    check_fields(version)
    version.save()
    return version


def check_installable(version: Version) -> None:
    """Raise NotReady unless an app's version has everything that installing it needs."""
    client, contents = version.app.client, Contents.of(version)
    if not version.scopes and contents.is_empty:
        raise NotReady(_("This version does nothing yet. Choose a scope for it to ask for, or add an app package."))
    agents_agree = version.scopes and client and client.is_agent_level
    if agents_agree and not version.install_url and not contents.templates:
        raise NotReady(_("An app that each agent authorizes needs an install URL or request templates."))
    # Checked again, since the registry and the credentials may have changed.
    problems = check_values(version.package, Facts(version.app)).problems if version.package else []
    if wrong := next((found for found in problems if found.level == ERROR), None):
        raise NotReady(_("The app package has a problem: %(what)s %(fix)s") % {"what": wrong.message, "fix": wrong.fix})


def _check_status(version: Version, status: str) -> None:
    if version.status != status:
        raise StatusCannotMove(
            _("This cannot be done while the version’s status is “%(status)s”.")
            % {"status": version.get_status_display()}
        )


@transaction.atomic
def submit_version(version: Version, *, by: User, shown: str | None = None) -> Version:
    """Freeze a draft and put it in the reviewers' queue (M2).

    `shown` is the seal of the draft that a person read, None where nobody reads a page. Raises NotATeammate,
    StatusCannotMove, ScreenIsStale, NotReady.
    """
    require_teammate(version.app.team, by)
    version = lock(Version, version.pk)
    _check_status(version, Status.DRAFT)
    if shown is not None:
        check_shown(shown, seal_of(version))
    check_installable(version)
    check_fields(version)
    version.status, version.audience, version.submitted_at = Status.IN_REVIEW, Audience.PUBLIC, Now()
    version.save(update_fields=["status", "audience", "submitted_at"])
    _notify(version, NoticeKind.SUBMITTED)
    _record(version, Event.VERSION_SUBMITTED, by)
    return Version.objects.get(pk=version.pk)


@transaction.atomic
def take_back_version(version: Version, *, by: User) -> Version:
    """Take a submitted version out of the reviewers' queue; it stays frozen (M2). Raises NotATeammate, StatusCannotMove."""
    require_teammate(version.app.team, by)
    version = lock(Version, version.pk)
    _check_status(version, Status.IN_REVIEW)
    version.status = Status.TAKEN_BACK
    version.save(update_fields=["status"])
    _notify(version, NoticeKind.TAKEN_BACK)
    _record(version, Event.VERSION_TAKEN_BACK, by)
    return version


@transaction.atomic
def copy_version(version: Version, *, by: User) -> Version:
    """Copy a version that was taken back to a new draft, its number included. Raises NotATeammate, StatusCannotMove, ValidationError."""
    require_teammate(version.app.team, by)
    _check_status(version, Status.TAKEN_BACK)
    fields = {name: getattr(version, name) for name in FIELDS}
    return create_version(version.app, by=by, **{**fields, "screenshots": still_there(version)})


@transaction.atomic
def approve_version(version: Version, *, reason: str = "", by: User) -> Version:
    """Approve a submitted version for publication. Raises NotAReviewer, OwnTeam, StatusCannotMove."""
    return _decide(version, Decision.APPROVED, Status.APPROVED, Event.VERSION_APPROVED, reason, by)


@transaction.atomic
def reject_version(version: Version, *, reason: str, by: User) -> Version:
    """Reject a submitted version with a reason for its developers. Raises as approving does, and ReasonMissing."""
    if not reason.strip():
        raise ReasonMissing(_("Give a reason. The developers will read it."))
    return _decide(version, Decision.REJECTED, Status.REJECTED, Event.VERSION_REJECTED, reason, by)


def _decide(version: Version, decision: str, status: str, event: Event, reason: str, by: User) -> Version:
    require_outside_reviewer(version.app.team, by)
    version = lock(Version, version.pk)
    _check_status(version, Status.IN_REVIEW)
    version.status = status
    version.save(update_fields=["status"])
    Review.objects.create(version=version, reviewer=by, decision=decision, reason=reason.strip())
    _notify(version, NoticeKind(decision), reason.strip())
    _record(version, event, by, PORTAL, reason=reason.strip())
    return version


@transaction.atomic
def publish_version(version: Version, *, by: User) -> Version:
    """Put an approved version in the marketplace (M3). Raises NotATeammate, StatusCannotMove, NotReady."""
    require_teammate(version.app.team, by)
    version = lock(Version, version.pk)
    _check_status(version, Status.APPROVED)
    return _publish(version, by)


@transaction.atomic
def publish_custom(version: Version, *, accounts: set[str], by: User, shown: str | None = None) -> Version:
    """Publish a draft without review for the accounts with these slugs, besides those listed before (M3).

    `shown` is the seal of the draft and of the accounts listed before, as above. Raises NotATeammate,
    StatusCannotMove, ScreenIsStale, NotReady, AccountsMissing, TooManyAccounts, TooManyVersions, ValidationError.
    """
    require_teammate(version.app.team, by)
    version = lock(Version, version.pk)
    _check_status(version, Status.DRAFT)
    app = lock(App, version.app_id)
    if shown is not None:
        check_shown(shown, seal_with_accounts(app, version))
    check_fields(version)
    # Under the app's lock, which every such publication takes.
    if _published(app, Audience.CUSTOM).count() >= MAX_CUSTOM_VERSIONS:
        raise TooManyVersions(
            _("There are already %(count)d versions for chosen accounts. Withdraw one that nobody needs first.")
            % {"count": MAX_CUSTOM_VERSIONS}
        )
    names = _list(app, accounts)
    version.app = app
    version.audience = Audience.CUSTOM
    return _publish(version, by, accounts=names)


@transaction.atomic
def list_accounts(app: App, *, accounts: set[str], by: User, shown: str | None = None) -> App:
    """Let further accounts install an app's custom versions (M3).

    `shown` is the seal of the accounts listed before, as above. Raises NotATeammate, ScreenIsStale, NothingPublished,
    AccountsMissing, TooManyAccounts, ValidationError.
    """
    require_teammate(app.team, by)
    app = lock(App, app.pk)
    if shown is not None:
        check_shown(shown, seal_with_accounts(app))
    if not _published(app, Audience.CUSTOM).exists():
        raise NothingPublished(_("Publish a version for chosen accounts first."))
    names = _list(app, accounts)
    # Accounts that have the app already can now have another version.
    offer_version(_published(app, Audience.CUSTOM).latest("published_at"))
    queue_offers()
    _record_accounts(app, Event.APP_ACCOUNTS_LISTED, by, names)
    return app


@transaction.atomic
def unlist_account(app: App, *, account: str, by: User) -> App:
    """Take an account off those that may install an app's custom versions; installations stay as they are (M3).

    Raises NotATeammate, AccountNotListed.
    """
    require_teammate(app.team, by)
    app = lock(App, app.pk)
    if account not in app.custom_accounts:
        raise AccountNotListed(_("%(account)s is not among the app’s accounts.") % {"account": account})
    app.custom_accounts = [name for name in app.custom_accounts if name != account]
    app.save(update_fields=["custom_accounts"])
    _record_accounts(app, Event.APP_ACCOUNT_UNLISTED, by, [account])
    return app


def _record_accounts(app: App, event: Event, by: User, accounts: list[str]) -> None:
    record(app.team.chain_name, event, by=by, subject=f"app:{app.slug}", name=app.slug, accounts=accounts)


def _published(app: App, audience: str) -> QuerySet[Version]:
    return app.versions.filter(audience=audience, status=Status.PUBLISHED)


def _list(app: App, accounts: set[str]) -> list[str]:
    """List accounts by their short names, however they are typed, and return these as accounts have them."""
    if not accounts:
        raise AccountsMissing(_("Choose at least one account."))
    names = {name.strip().lower() for name in accounts}
    app.custom_accounts = sorted({*app.custom_accounts, *names})
    if len(app.custom_accounts) > MAX_CUSTOM_ACCOUNTS:
        raise TooManyAccounts(_("Enter at most %(count)d accounts.") % {"count": MAX_CUSTOM_ACCOUNTS})
    app.full_clean(exclude=["client"])
    app.save(update_fields=["custom_accounts"])
    return sorted(names)


def _publish(version: Version, by: User, **details: object) -> Version:
    check_installable(version)
    version.status, version.published_at = Status.PUBLISHED, Now()
    version.save(update_fields=["status", "audience", "published_at"])
    version = Version.objects.select_related("app__client", "app__team").get(pk=version.pk)
    offer_version(version)
    queue_offers()
    _record(version, Event.VERSION_PUBLISHED, by, audience=version.audience, **details)
    return version


@transaction.atomic
def withdraw_version(version: Version, *, reason: str, by: User) -> Version:
    """Withdraw a published version: nobody can install it from now on, and those who have it are told and offered another.

    Existing installations go on working (M4). Raises NotATeammate, StatusCannotMove, ReasonMissing.
    """
    require_teammate(version.app.team, by)
    version = lock(Version, version.pk)
    _check_status(version, Status.PUBLISHED)
    if not (reason := reason.strip()):
        raise ReasonMissing(_("Give a reason. The admins who installed this version will read it."))
    version.status, version.withdrawn_because = Status.WITHDRAWN, reason[:MAX_REASON]
    version.save(update_fields=["status", "withdrawn_because"])
    # Earlier offers to its installations now have another reason, which their admins do not know yet.
    # If it is no longer in use, earlier mails still count: one a day is enough.
    left = Offer.objects.filter(from_version=version, installation__version=version, taken_at=None)
    left.update(kind=OfferKind.WITHDRAWN, told_at=None)
    offer_another(version)
    queue_offers()
    _record(version, Event.VERSION_WITHDRAWN, by, reason=version.withdrawn_because)
    return version


def _notify(version: Version, kind: NoticeKind, reason: str = "") -> None:
    put_notices(
        version.app.team,
        kind,
        name=str(version),
        path=reverse("version-view", args=[version.app.slug, version.pk]),
        reviewers_path=reverse("admin:marketplace_version_change", args=[version.pk]),
        reason=reason,
    )


def _record(version: Version, event: Event, by: User, *more_chains: str, **details: object) -> None:
    for chain_name in (version.app.team.chain_name, *more_chains):
        record(
            chain_name,
            event,
            by=by,
            subject=f"version:{version.pk}",
            name=str(version),
            app=version.app.slug,
            required=version.required_scopes,
            optional=version.optional_scopes,
            **details,
        )
