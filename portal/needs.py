"""What needs a person now. Home lists it first, each with the button that leads to the act."""

import datetime as dt
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from django.db.models import Exists, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from consent.coming_ends import ended_lately, ending_within, is_of_account_run_by, is_own_of
from consent.models import Consent, Failure
from consent.succession import to_confirm
from credentials.models import ClientSecret, Level
from credentials.seen import clients_seen_by
from marketplace.models import App, Audience, Connection, Installation, Offer, OfferKind, Status, Version
from marketplace.seen import (
    broken_connections_seen_by,
    consents_to_widen_seen_by,
    installations_seen_by,
    offers_seen_by,
    vendor_of,
    versions_seen_by,
    versions_to_review,
)
from portal.accounts.models import Account, Membership, User
from portal.accounts.rights import is_reviewer
from portal.accounts.seen import memberships_of, teams_seen_by
from portal.foundation.pages import MOST_COUNTED, capped_count
from portal.foundation.templatetags.times import exact, relative

# As many of one kind are shown; the page that the group links to lists the others.
MOST = 3
# How long a developer is told of what happened to a version.
LATELY = dt.timedelta(days=30)


class Need(NamedTuple):
    """One thing to do: `label` is on the button that leads to `url`."""

    tone: str
    title: str
    text: str
    url: str
    label: str


class Group(NamedTuple):
    """Needs of one kind, and the page that lists more, or "" if these are all."""

    needs: list[Need]
    more_url: str


# The most urgent first.
_TONES = ("danger", "warning", "success", "primary", "secondary")


def needs_of(user: User, *, account: Account | None = None, develops: bool) -> list[Group]:
    """Return what needs a person, the most urgent first. `develops`: they are in a team.

    With `account`, of all accounts only this one's needs are told.
    """
    # Whoever belongs to no account has none of these, which PostgreSQL would find out by reading all.
    members = _of_members(user, account) if memberships_of(user).exists() else []
    groups = [*members, *(_of_developers(user) if develops else []), _of_reviewers(user)]
    return sorted((group for group in groups if group.needs), key=lambda group: _TONES.index(group.needs[0].tone))


def _group(rows: QuerySet[Any, Any], need: Callable[[Any], Need], more_url: str) -> Group:
    found = list(rows[: MOST + 1])
    return Group([need(row) for row in found[:MOST]], more_url if len(found) > MOST else "")


def _day(at: dt.datetime) -> str:
    return date_format(localtime(at), "DATE_FORMAT")


# --- members of accounts ---


def _of_members(user: User, account: Account | None) -> Iterable[Group]:
    own, runs = is_own_of(user), is_of_account_run_by(user)
    own_broken, accounts_broken = broken_connections_seen_by(user)
    installed, shown_ends = reverse("installation-list"), reverse("ending-list")
    # What is one's own and what is an account's are found by different indexes, so they are asked for one by one.
    kinds: list[tuple[QuerySet[Any], Callable[[Any], Need], str]] = [
        (own_broken, _connect_again, installed),
        (accounts_broken, _connect_again, installed),
        (ended_lately().filter(own), _reauthorize, shown_ends),
        (ended_lately().filter(runs), _reauthorize, shown_ends),
        (offers_seen_by(user), _decide, reverse("offer-list")),
        (to_confirm(user), _confirm, reverse("offer-list")),
        (consents_to_widen_seen_by(user), _read_what_is_new, reverse("authorization-list")),
        (ending_within().filter(own), _agree_again, shown_ends),
        (ending_within().filter(runs), _agree_again, shown_ends),
        (_unfinished(user), _finish, installed),
        (_to_authorize(user), _authorize, installed),
    ]
    for rows, need, more_url in kinds:
        yield _group(rows.filter(**{_ACCOUNT[rows.model]: account}) if account else rows, need, more_url)


# Where each model has its account.
_ACCOUNT: dict[Any, str] = {
    Connection: "installation__account",
    Consent: "access__account",
    Installation: "account",
    Offer: "installation__account",
}


def _connect_again(connection: Connection) -> Need:
    installation = connection.installation
    names = {
        "vendor": vendor_of(connection),
        "app": installation.version.name,
        "account": installation.account,
    }
    title = _("%(app)s can no longer reach %(vendor)s for %(account)s") % names
    url = reverse("connection-view", args=(installation.pk, connection.integration))
    text = _("The connection no longer works: %(what)s") % {"what": connection.why_broken}
    return Need("danger", title, text, url, _("Connect again"))


def _app_and_account(consent: Consent) -> dict[str, Any]:
    return {"app": consent.access.name, "account": consent.access.account, "day": _day(consent.expires_at)}


def _reauthorize(consent: Consent) -> Need:
    if consent.membership_id:
        title = _("Your authorization of %(app)s in %(account)s expired on %(day)s")
    else:
        title = _("The agreement with %(app)s in %(account)s expired on %(day)s")
    text = _("The app has no access until it is authorized again.")
    url = reverse("authorization-reauthorize", args=(consent.access_id,))
    return Need("danger", title % _app_and_account(consent), text, url, _("Reauthorize"))


def _agree_again(consent: Consent) -> Need:
    if consent.membership_id:
        title = _("Your authorization of %(app)s in %(account)s ends on %(day)s")
    else:
        title = _("The agreement with %(app)s in %(account)s ends on %(day)s")
    text = _("Agree again before then, and the app keeps working.")
    url = reverse("consent-renew", args=(consent.pk,))
    return Need("warning", title % _app_and_account(consent), text, url, _("Agree again"))


def _decide(offer: Offer) -> Need:
    installation = offer.installation
    names = {
        "app": offer.from_version.name,
        "account": installation.account,
        "number": (offer.version or offer.from_version).number,
        "old": offer.from_version.number,
    }
    url = reverse("installation-upgrade" if offer.version else "installation-view", args=(installation.pk,))
    if offer.kind == OfferKind.WITHDRAWN:
        title = _("Version %(old)s of %(app)s in %(account)s was withdrawn") % names
        text = _("The developer’s reason: %(why)s") % {"why": offer.from_version.withdrawn_because}
        if offer.version is None:
            return Need("secondary", title, text, url, _("View"))
        return Need("warning", title, text, url, _("View and switch"))
    title = _("%(app)s %(number)s is available for %(account)s") % names
    if offer.kind == OfferKind.ASK:
        text = _("It asks for something new. Version %(old)s keeps working until you decide.") % names
        return Need("warning", title, text, url, _("Review update"))
    return Need("primary", title, _("It asks for nothing new."), url, _("Review update"))


def _confirm(consent: Consent) -> Need:
    names = {**_app_and_account(consent), "person": consent.granted_by}
    title = _("%(person)s, who agreed to %(app)s for %(account)s, is no longer an admin") % names
    text = _("The app keeps working. Read what it may do, and confirm it.")
    return Need("warning", title, text, reverse("consent-confirm", args=(consent.pk,)), _("Read and confirm"))


def _read_what_is_new(consent: Consent) -> Need:
    title = _("%(app)s in %(account)s asks you for more permissions") % _app_and_account(consent)
    text = _("What you have allowed keeps working.")
    return Need("warning", title, text, reverse("consent-renew", args=(consent.pk,)), _("Read what is new"))


def _unfinished(user: User) -> QuerySet[Installation]:
    """Return the installations that nobody has agreed to, in accounts that a person administers."""
    administered = Membership.objects.administered_by(user)
    agreed = Consent.objects.filter(access=OuterRef("access"), membership=None)
    rows = installations_seen_by(user).filter(~Exists(agreed), account__in=administered, uninstalled_at=None)
    rows = rows.filter(
        access__client__suspended_at=None, access__client__level=Level.ACCOUNT, account__suspended_at=None
    )
    return rows.exclude(access=None).order_by("-installed_at", "pk")


def _app_in_account(installation: Installation) -> dict[str, Any]:
    return {"app": installation.version.name, "account": installation.account}


def _finish(installation: Installation) -> Need:
    title = _("The installation of %(app)s in %(account)s is not finished") % _app_in_account(installation)
    text = _("The app has no access until an admin agrees.")
    return Need("warning", title, text, reverse("installation-view", args=(installation.pk,)), _("Finish installing"))


def _to_authorize(user: User) -> QuerySet[Installation]:
    """Return the installations that wait for a person's first authorization."""
    memberships = memberships_of(user)
    agreed = Consent.objects.filter(access=OuterRef("access"), membership__in=memberships)
    rows = installations_seen_by(user).filter(~Exists(agreed), access__client__level=Level.AGENT, uninstalled_at=None)
    rows = rows.filter(access__client__suspended_at=None, account__suspended_at=None)
    return rows.order_by("-installed_at", "pk")


def _authorize(installation: Installation) -> Need:
    title = _("%(app)s is installed in %(account)s") % _app_in_account(installation)
    text = _("Authorize it to use it yourself.")
    return Need("primary", title, text, reverse("installation-connect", args=(installation.pk,)), _("Authorize"))


# --- developers ---


def _of_developers(user: User) -> Iterable[Group]:
    clients, versions = clients_seen_by(user), versions_seen_by(user).defer("icon", "description", "package")
    suspended = clients.exclude(suspended_at=None).order_by("-suspended_at", "pk")
    yield _group(suspended, _see_suspension, reverse("client-list"))
    yield _group(_rejected(versions), _see_rejection, reverse("app-list"))
    old = ClientSecret.objects.filter(
        client__in=clients, expires_at__gt=Now(), last_used_at__gt=Now() - dt.timedelta(days=1), is_for_trying=False
    )
    yield _group(old.select_related("client").order_by("expires_at", "pk"), _replace_secret, reverse("client-list"))
    recent = Failure.objects.filter(client__in=clients, hour__gt=Now() - dt.timedelta(days=1)).order_by()
    refused = recent.values("client__client_id", "client__name").annotate(total=Sum("times"))
    yield _group(refused.order_by("-total", "client__name"), _see_log, reverse("client-list"))
    approved = versions.filter(status=Status.APPROVED).order_by("-submitted_at", "pk")
    yield _group(approved, _publish, reverse("app-list"))
    yield _adoption(user)


def _see_suspension(client: Any) -> Need:
    title = _("The credentials %(client)s are suspended") % {"client": client}
    text = _("None of their tokens works until a reviewer lifts the suspension.")
    return Need("danger", title, text, reverse("client-view", args=(client.client_id,)), _("See why"))


def _rejected(versions: QuerySet[Version]) -> QuerySet[Version]:
    """Return the versions that were rejected lately and that no later one follows."""
    later = Version.objects.filter(app=OuterRef("app"), created_at__gt=OuterRef("created_at"))
    rejected = versions.filter(~Exists(later.exclude(status=Status.SNAPSHOT)), status=Status.REJECTED)
    return rejected.filter(review__decided_at__gt=Now() - LATELY).order_by("-review__decided_at", "pk")


def _version_url(version: Version, name: str = "version-view") -> str:
    return reverse(name, args=(version.app.slug, version.pk))


def _name_and_number(version: Version) -> dict[str, Any]:
    return {"app": version.name, "number": version.number}


def _see_rejection(version: Version) -> Need:
    title = _("%(app)s %(number)s was rejected") % _name_and_number(version)
    text = _("The reviewer’s reason: %(why)s") % {"why": version.review.reason}
    return Need("danger", title, text, _version_url(version), _("Read the reason"))


def _publish(version: Version) -> Need:
    title = _("%(app)s %(number)s is approved") % _name_and_number(version)
    return Need("success", title, _("Nobody can install it until you publish it."), _version_url(version), _("Publish"))


def _replace_secret(secret: Any) -> Need:
    title = _("An old secret of %(client)s is still in use") % {"client": secret.client}
    text = _("It stops working on %(when)s. Give the new secret to every program that still uses this one.") % {
        "when": exact(secret.expires_at)
    }
    return Need("warning", title, text, reverse("client-view", args=(secret.client.client_id,)), _("See the secrets"))


def _see_log(row: dict[str, Any]) -> Need:
    title = ngettext(
        "%(count)d request of %(client)s was refused in the last day",
        "%(count)d requests of %(client)s were refused in the last day",
        row["total"],
    ) % {"count": row["total"], "client": row["client__name"]}
    text = _("The log says why, and what to change.")
    return Need("warning", title, text, reverse("failure-list", args=(row["client__client_id"],)), _("Open the log"))


def _adoption(user: User) -> Group:
    """Tell how many accounts have the public versions published lately, the newest of each app, where some lack them."""
    published = Version.objects.filter(status=Status.PUBLISHED, audience=Audience.PUBLIC, app=OuterRef("pk"))
    newest = Subquery(published.order_by("-published_at", "-pk").values("pk")[:1])
    lately = published.order_by("-published_at", "-pk").values("published_at")[:1]
    apps = App.objects.filter(team__in=teams_seen_by(user)).annotate(newest=newest, newest_at=Subquery(lately))
    shown = (
        apps.filter(newest_at__gt=Now() - LATELY).order_by("-newest_at", "pk").values_list("newest", flat=True)[:MOST]
    )
    installed = Installation.objects.installed().filter(app=OuterRef("app")).order_by()
    versions = Version.objects.filter(pk__in=list(shown)).defer("icon", "description", "package")
    shown_versions = versions.annotate(
        everywhere=capped_count(installed), here=capped_count(installed.filter(version=OuterRef("pk")))
    )
    shown_versions = shown_versions.select_related("app").order_by("-published_at", "pk")
    return Group([_see_adoption(version) for version in shown_versions if version.here < version.everywhere], "")


def _see_adoption(version: Any) -> Need:
    names = {**_name_and_number(version), "here": version.here, "everywhere": version.everywhere}
    if version.everywhere <= MOST_COUNTED:
        title = _("%(here)d of %(everywhere)d accounts use %(app)s %(number)s") % names
    else:
        title = _("%(here)d of more than %(most)d accounts use %(app)s %(number)s") % {**names, "most": MOST_COUNTED}
    text = _("Published %(when)s.") % {"when": relative(version.published_at)}
    return Need("secondary", title, text, _version_url(version, "version-changes"), _("See who has it"))


# --- reviewers ---


def _of_reviewers(user: User) -> Group:
    if not is_reviewer(user):
        return Group([], "")
    submitted: list[Any] = list(versions_to_review(user).values_list("submitted_at", flat=True)[: MOST_COUNTED + 1])
    if not submitted:
        return Group([], "")
    if len(submitted) > MOST_COUNTED:
        title = _("More than %(count)d versions are waiting for review") % {"count": MOST_COUNTED}
    else:
        title = ngettext(
            "%(count)d version is waiting for review", "%(count)d versions are waiting for review", len(submitted)
        ) % {"count": len(submitted)}
    text = _("The oldest was submitted %(when)s.") % {"when": relative(submitted[0])}
    url = f"{reverse('admin:marketplace_version_changelist')}?status__exact={Status.IN_REVIEW}"
    return Group([Need("primary", title, text, url, _("Review"))], "")
