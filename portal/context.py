from typing import Any

from django.db.models import Exists, IntegerField, OuterRef, QuerySet, Subquery, UUIDField
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _

from credentials.models import Client
from marketplace.models import App
from portal.accounts.choosing import REMEMBERED, REMEMBERED_TEAM
from portal.accounts.models import User
from portal.accounts.seen import memberships_of, team_memberships_of
from portal.demo.mail import has_mail_pages
from portal.foundation.database import looked_up
from portal.foundation.statements import Parameter, Statement

from .help.sections import answers_of


def _flags() -> QuerySet[User, Any]:
    """Return whether a person develops apps or is in no customer's account, and the account and team that they work in.

    The others see no navigation for developers; the settings page still leads everyone to their team's credentials. The
    account is the one that the session remembers, else the oldest; the team is only the one that it remembers.
    """
    person: Any = OuterRef("pk")
    teammate: Any = OuterRef("user")
    teams, accounts = team_memberships_of(person), memberships_of(person)
    clients = Client.objects.filter(team=OuterRef("team")).order_by("-created", "-pk")
    made = looked_up(clients) | looked_up(App.objects.filter(team=OuterRef("team")).order_by("slug"))
    customer = memberships_of(teammate).filter(account__test_of_team=None)
    name = "account__name"
    remembered = Subquery(accounts.filter(account__slug=Parameter("account")).values(name)[:1])
    first = Subquery(accounts.order_by("account__pk").values(name)[:1])
    team = Subquery(teams.filter(team__public_id=Parameter("team", UUIDField())).values("team__name")[:1])
    flags = Exists(teams.filter(made | ~Exists(customer))), Coalesce(remembered, first), team
    return User.objects.filter(pk=Parameter("pk", IntegerField())).values_list(*flags)


_FLAGS = Statement(_flags)


def chrome(request: HttpRequest) -> dict[str, Any]:
    """Return the navigation for this person, read once a request however many templates a page renders."""
    if not hasattr(request, "portal_chrome"):
        request.portal_chrome = _chrome(request)  # type: ignore[attr-defined]
    return {"chrome": request.portal_chrome}  # type: ignore[attr-defined]


def _leads_to(url: str, path: str) -> bool:
    """Tell whether a page belongs to a navigation item.

    Pages below one's own authorizations belong to the account's apps, and a team's apps and the scopes to what it builds.
    """
    own = reverse("authorization-list")
    if path.startswith((reverse("app-list"), reverse("scope-list"))):
        return url == reverse("client-list")
    if path.startswith(own) and path != own:
        return url == reverse("installation-list")
    return path.startswith(url)


def _chrome(request: HttpRequest) -> Any:
    match = request.resolver_match
    made = {
        "path": request.path,
        "mail_url": reverse("mail-list") if has_mail_pages() else "",
        "help": answers_of(match.route if match else ""),
    }
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return made
    session = request.session
    developer, account, team = _FLAGS.row(
        pk=user.pk, account=session.get(REMEMBERED, ""), team=session.get(REMEMBERED_TEAM)
    )
    pages = [
        (True, _("Marketplace"), "listing-list"),
        (account, _("Installed apps"), "installation-list"),
        (account, _("My access"), "authorization-list"),
        (developer, _("Build"), "client-list"),
        (True, _("Activity"), "ledger-list"),
        (user.is_staff, _("Staff"), "admin:index"),
    ]
    items: list[dict[str, Any]] = [{"label": label, "url": reverse(name)} for shown, label, name in pages if shown]
    for item in items:
        item["current"] = _leads_to(item["url"], request.path)
    words = str(user).split("@")[0].split() or ["?"]
    return {
        **made,
        "account": account,
        "works_in": " · ".join(filter(None, (account, team))),
        "develops": developer,
        "items": items,
        "initials": "".join(word[0] for word in [words[0], *words[1:][-1:]]),
    }
