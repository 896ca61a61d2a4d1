from typing import Any

from django.db.models import Exists, IntegerField, OuterRef, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _

from credentials.models import Client
from marketplace.models import App
from portal.accounts.models import User
from portal.accounts.seen import memberships_of, team_memberships_of
from portal.demo.mail import has_mail_pages
from portal.foundation.database import looked_up
from portal.foundation.statements import Parameter, Statement


def _flags() -> QuerySet[User, Any]:
    """Return whether a person is in an account, and whether they develop apps or are in no customer's account.

    The others see no navigation for developers; the settings page still leads everyone to their team's credentials.
    """
    person: Any = OuterRef("pk")
    teammate: Any = OuterRef("user")
    teams, accounts = team_memberships_of(person), memberships_of(person)
    clients = Client.objects.filter(team=OuterRef("team")).order_by("-created", "-pk")
    made = looked_up(clients) | looked_up(App.objects.filter(team=OuterRef("team")).order_by("slug"))
    customer = memberships_of(teammate).filter(account__test_of_team=None)
    flags = Exists(accounts), Exists(teams.filter(made | ~Exists(customer)))
    return User.objects.filter(pk=Parameter("pk", IntegerField())).values_list(*flags)


_FLAGS = Statement(_flags)


def chrome(request: HttpRequest) -> dict[str, Any]:
    """Return the navigation for this person, read once a request however many templates a page renders."""
    if not hasattr(request, "portal_chrome"):
        request.portal_chrome = _chrome(request)  # type: ignore[attr-defined]
    return {"chrome": request.portal_chrome}  # type: ignore[attr-defined]


def _leads_to(url: str, path: str) -> bool:
    """Tell whether a page belongs to a navigation item. Pages below one's own authorizations belong to the account's apps."""
    own = reverse("authorization-list")
    if path.startswith(own) and path != own:
        return url == reverse("installation-list")
    return path.startswith(url)


def _chrome(request: HttpRequest) -> Any:
    made = {"path": request.path, "mail_url": reverse("mail-list") if has_mail_pages() else ""}
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return made
    member, developer = _FLAGS.row(pk=user.pk)
    pages = [
        (True, _("Marketplace"), "listing-list"),
        (member, _("Apps"), "installation-list"),
        (member, _("My authorizations"), "authorization-list"),
        (developer, _("OAuth credentials"), "client-list"),
        (developer, _("My apps"), "app-list"),
        (True, _("Ledger"), "ledger-list"),
        (user.is_staff, _("Staff"), "admin:index"),
    ]
    items: list[dict[str, Any]] = [{"label": label, "url": reverse(name)} for shown, label, name in pages if shown]
    for item in items:
        item["current"] = _leads_to(item["url"], request.path)
    words = str(user).split("@")[0].split() or ["?"]
    return {
        **made,
        "develops": developer,
        "items": items,
        "initials": "".join(word[0] for word in [words[0], *words[1:][-1:]]),
    }
