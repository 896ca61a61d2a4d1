"""What needs a person now. Home lists it first, each with the button that leads to the act."""

import datetime as dt
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from consent.coming_ends import ended_lately, ending_within, is_of_account_run_by, is_own_of
from consent.models import Access, Consent, Failure
from consent.succession import to_confirm
from credentials.models import Client, ClientSecret, Level
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
from portal.accounts.models import Account, Membership, Role, Team, User
from portal.accounts.rights import is_reviewer
from portal.accounts.seen import memberships_of
from portal.foundation.pages import MOST_COUNTED, capped_count, first_of_each
from portal.foundation.templatetags.times import exact, relative

# As many of one kind are shown on Home; the page that the group links to lists all.
MOST = 3
# So many apps of each account, credentials and apps of each team, and authorizations of a person are looked at, the newest.
LOOKED_AT = 250
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
    """Needs of one kind, and the page that lists all of them, or "" if these are all."""

    needs: list[Need]
    more_url: str = ""


class Kind(NamedTuple):
    """What may be needed, as a queryset in its order, and what each row of it asks for. `name` is in an address."""

    name: str
    title: str
    rows: QuerySet[Any, Any]
    need: Callable[[Any], Need]

    def group(self) -> Group:
        found = list(self.rows[: MOST + 1])
        more_url = reverse("need-list", args=(self.name,)) if len(found) > MOST else ""
        return Group([self.need(row) for row in found[:MOST]], more_url)


# The most urgent first.
_TONES = ("danger", "warning", "success", "primary", "secondary")


def needs_of(user: User, accounts: list[Account], teams: list[Team]) -> list[Group]:
    """Return what a person needs to do in these of their accounts and teams, and as a reviewer, the most urgent first."""
    groups = [kind.group() for kind in kinds_of(user, accounts, teams)]
    groups += [*(_adoption(teams) if teams else []), _of_reviewers(user)]
    return sorted((group for group in groups if group.needs), key=lambda group: _TONES.index(group.needs[0].tone))


def kinds_of(user: User, accounts: list[Account], teams: list[Team]) -> Iterable[Kind]:
    """Yield the kinds of need that a query lists, in these of a person's accounts and teams."""
    members = list(memberships_of(user).filter(account__in=accounts)) if accounts else []
    if members:
        yield from _of_members(user, members)
    if teams:
        yield from _of_developers(user, teams)


def looked_at_in_part(accounts: list[Account], teams: list[Team]) -> list[str]:
    """Return the names of those that have more than is looked at."""
    beyond = slice(LOOKED_AT, LOOKED_AT + 1)
    more = Q(Exists(_INSTALLED[beyond])) | Q(Exists(_ACCESSES[beyond]))
    large_accounts = Account.objects.filter(more, pk__in=[each.pk for each in accounts])
    more = Q(Exists(_CLIENTS[beyond])) | Q(Exists(_APPS[beyond]))
    large_teams = Team.objects.filter(more, pk__in=[each.pk for each in teams])
    names = large_accounts.order_by().values_list("name", flat=True)
    return list(names.union(large_teams.order_by().values_list("name", flat=True), all=True))


# What an account or a team has, in the order of an index.
_INSTALLED = Installation.objects.filter(account=OuterRef("pk"), uninstalled_at=None).order_by("-installed_at", "pk")
_ACCESSES = Access.objects.filter(account=OuterRef("pk"), ended_at=None).order_by("-opened_at", "pk")
_CLIENTS = Client.objects.filter(team=OuterRef("pk")).order_by("-created", "-pk")
_APPS = App.objects.filter(team=OuterRef("pk")).order_by("-created_at", "-pk")


def _newest(model: type[Account | Team], keys: list[int], rows: QuerySet[Any]) -> list[Any]:
    """Return the keys of the newest rows of each account or team, as values: of a subquery, PostgreSQL expects half of all rows."""
    return list(first_of_each(model._default_manager.filter(pk__in=keys), rows, LOOKED_AT)) if keys else []


def _day(at: dt.datetime) -> str:
    return date_format(localtime(at), "DATE_FORMAT")


# --- members of accounts ---


def _of_members(user: User, members: list[Membership]) -> Iterable[Kind]:
    here = [member.account_id for member in members]
    run = [member.account_id for member in members if member.role == Role.ADMIN]
    installed = _newest(Account, here, _INSTALLED)
    administered = installed if run == here else _newest(Account, run, _INSTALLED)
    accesses = _newest(Account, run, _ACCESSES)
    # Everybody agrees for themselves (T12).
    given = Consent.objects.filter(granted_by=user).exclude(membership=None).order_by("-granted_at", "pk")
    given_keys = list(given.values_list("pk", flat=True)[:LOOKED_AT])
    # What is one's own and what is an account's are found by different indexes, so they are asked for one by one.
    own = is_own_of(user) & Q(pk__in=given_keys, access__account__in=here)
    theirs = is_of_account_run_by(user) & Q(access__in=accesses)
    own_broken, accounts_broken = broken_connections_seen_by(user)
    yield Kind(
        "own-connections",
        _("Your connections that no longer work"),
        own_broken.filter(membership__in=[member.pk for member in members]),
        _connect_again,
    )
    yield Kind(
        "connections",
        _("Connections of your accounts that no longer work"),
        accounts_broken.filter(installation__in=administered),
        _connect_again,
    )
    yield Kind("own-expired", _("Your authorizations that expired"), ended_lately().filter(own), _reauthorize)
    yield Kind("expired", _("Agreements that expired"), ended_lately().filter(theirs), _reauthorize)
    offers = offers_seen_by(user).filter(installation__in=administered)
    yield Kind("versions", _("Versions to decide on"), offers, _decide)
    yield Kind("to-confirm", _("Agreements to confirm"), to_confirm(user).filter(access__in=accesses), _confirm)
    yield Kind(
        "to-widen", _("Apps that ask you for more"), consents_to_widen_seen_by(user).filter(own), _read_what_is_new
    )
    yield Kind("own-ending", _("Your authorizations that end soon"), ending_within().filter(own), _agree_again)
    yield Kind("ending", _("Agreements that end soon"), ending_within().filter(theirs), _agree_again)
    yield Kind("unfinished", _("Installations to finish"), _unfinished(user).filter(pk__in=administered), _finish)
    yield Kind("to-authorize", _("Apps to authorize"), _to_authorize(user).filter(pk__in=installed), _authorize)


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
    agreed = Consent.objects.filter(access=OuterRef("access"), membership__in=memberships_of(user))
    rows = installations_seen_by(user).filter(~Exists(agreed), access__client__level=Level.AGENT, uninstalled_at=None)
    rows = rows.filter(access__client__suspended_at=None, account__suspended_at=None)
    return rows.order_by("-installed_at", "pk")


def _authorize(installation: Installation) -> Need:
    title = _("%(app)s is installed in %(account)s") % _app_in_account(installation)
    text = _("Authorize it to use it yourself.")
    return Need("primary", title, text, reverse("installation-connect", args=(installation.pk,)), _("Authorize"))


# --- developers ---


def _of_developers(user: User, teams: list[Team]) -> Iterable[Kind]:
    clients = clients_seen_by(user).filter(team__in=teams)
    versions = versions_seen_by(user).filter(app__team__in=teams).defer("icon", "description", "package")
    suspended = clients.exclude(suspended_at=None).order_by("-suspended_at", "pk")
    yield Kind("suspended", _("Suspended credentials"), suspended, _see_suspension)
    yield Kind("rejected", _("Rejected versions"), _rejected(versions), _see_rejection)
    yesterday = Now() - dt.timedelta(days=1)
    old = (
        ClientSecret.objects.filter(
            client__in=clients, expires_at__gt=Now(), last_used_at__gt=yesterday, is_for_trying=False
        )
        .select_related("client")
        .order_by("expires_at", "pk")
    )
    yield Kind("secrets", _("Old secrets that are still in use"), old, _replace_secret)
    looked_at = _newest(Team, [team.pk for team in teams], _CLIENTS)
    recent = Failure.objects.filter(client__in=looked_at, hour__gt=yesterday).order_by()
    refused = recent.values("client__client_id", "client__name").annotate(total=Sum("times"))
    refused = refused.order_by("-total", "client__name")
    yield Kind("refusals", _("Credentials whose requests were refused"), refused, _see_log)
    approved = versions.filter(status=Status.APPROVED).order_by("-submitted_at", "pk")
    yield Kind("approved", _("Versions to publish"), approved, _publish)


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


def _adoption(teams: list[Team]) -> list[Group]:
    """Tell how many accounts have the public versions published lately, the newest of each app, where some lack them."""
    published = Version.objects.filter(status=Status.PUBLISHED, audience=Audience.PUBLIC, app=OuterRef("pk"))
    newest = Subquery(published.order_by("-published_at", "-pk").values("pk")[:1])
    lately = published.order_by("-published_at", "-pk").values("published_at")[:1]
    looked_at = _newest(Team, [team.pk for team in teams], _APPS)
    apps = App.objects.filter(pk__in=looked_at).annotate(newest=newest, newest_at=Subquery(lately))
    shown = (
        apps.filter(newest_at__gt=Now() - LATELY).order_by("-newest_at", "pk").values_list("newest", flat=True)[:MOST]
    )
    installed = Installation.objects.installed().filter(app=OuterRef("app")).order_by()
    versions = Version.objects.filter(pk__in=list(shown)).defer("icon", "description", "package")
    shown_versions = versions.annotate(
        everywhere=capped_count(installed), here=capped_count(installed.filter(version=OuterRef("pk")))
    )
    shown_versions = shown_versions.select_related("app").order_by("-published_at", "pk")
    # Of more than are counted, nobody knows whether all have it.
    found = [each for each in shown_versions if each.here < each.everywhere or each.here > MOST_COUNTED]
    return [Group([_see_adoption(version) for version in found])]


def _see_adoption(version: Any) -> Need:
    names = {**_name_and_number(version), "here": version.here, "everywhere": version.everywhere, "most": MOST_COUNTED}
    if version.everywhere <= MOST_COUNTED:
        title = _("%(here)d of %(everywhere)d accounts use %(app)s %(number)s") % names
    elif version.here <= MOST_COUNTED:
        title = _("%(here)d of more than %(most)d accounts use %(app)s %(number)s") % names
    else:
        title = _("More than %(most)d accounts use %(app)s %(number)s") % names
    text = _("Published %(when)s.") % {"when": relative(version.published_at)}
    return Need("secondary", title, text, _version_url(version, "version-changes"), _("See who has it"))


# --- reviewers ---


def _of_reviewers(user: User) -> Group:
    if not is_reviewer(user):
        return Group([])
    submitted: list[Any] = list(versions_to_review(user).values_list("submitted_at", flat=True)[: MOST_COUNTED + 1])
    if not submitted:
        return Group([])
    if len(submitted) > MOST_COUNTED:
        title = _("More than %(count)d versions are waiting for review") % {"count": MOST_COUNTED}
    else:
        title = ngettext(
            "%(count)d version is waiting for review", "%(count)d versions are waiting for review", len(submitted)
        ) % {"count": len(submitted)}
    text = _("The oldest was submitted %(when)s.") % {"when": relative(submitted[0])}
    url = f"{reverse('admin:marketplace_version_changelist')}?status__exact={Status.IN_REVIEW}"
    return Group([Need("primary", title, text, url, _("Review"))])
