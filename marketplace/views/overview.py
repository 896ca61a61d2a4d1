"""One page of all that has access to an account: its apps, its external apps, and what each agent authorized."""

from functools import partial
from typing import Any

from django.db.models import CharField, DateTimeField, Exists, F, OuterRef, Q, UUIDField, Value
from django.db.models.functions import Cast, Coalesce, NullIf
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from consent.models import Access
from consent.seen import agents_of, consents_of
from consent.validity import unended_consents
from credentials.models import Scope
from portal.accounts.choosing import Choice
from portal.accounts.models import Account
from portal.accounts.requests import SignedInRequest
from portal.accounts.rights import accounts_run_by
from portal.foundation.database import database_now, looked_up
from portal.foundation.lists import Asked, Filter
from portal.foundation.pages import merged, paginate

from ..models import Installation

KINDS = {"app": _("Marketplace apps"), "external": _("External apps"), "agent": _("Agents’ authorizations")}
_NONE = Value("", output_field=CharField())
_NEVER, _NOBODY = Cast(Value(None), DateTimeField()), Cast(Value(None), UUIDField())


def _named(access: Any = "") -> Any:
    """What an app is called, as `Access.name` says it."""
    return Coalesce(NullIf(f"{access}app_name", _NONE), f"{access}client__name", output_field=CharField())


def _person(path: str, words: Any) -> Any:
    return Q(**{f"{path}__name__icontains": words}) | Q(**{f"{path}__email__icontains": words})


def _rows(account: Account, words: Any, kinds: Any) -> Any:
    """Return the rows of these kinds whose app or person fits `words`, and a function that returns the first of many."""
    agreed = unended_consents().filter(_person("granted_by", words), membership=None)
    found: list[Any] = []
    ordered: list[Any] = []

    def row(kind: str, rows: Any, name: Any, group: Any, who: Any, agreed_by: Any, **order: Any) -> None:
        """`group` keeps an agent's row below its app's; `order` follows an index."""
        if kind not in kinds:
            return
        rows = rows.annotate(
            name=name, group=F(group), who=who, at=order.get("at", _NEVER), member=order.get("member", _NOBODY)
        )
        rows = rows.filter(Q(name__icontains=words) | agreed_by) if words else rows
        rows = rows.annotate(kind=Value(kind, output_field=CharField()), place=Value(len(found))).order_by()
        columns = "name", "group", "who", "kind", "pk", "place", "at", "member"
        found.append(rows.values(*columns))
        ordered.append(rows.order_by("-at" if "at" in order else "member", "pk").values(*columns))

    by_account = Exists(agreed.filter(access=OuterRef("access")))
    # Each is looked up, so that a page of a long list reads no more than it shows.
    has_access = looked_up(unended_consents().filter(access=OuterRef("access")).order_by("access", "membership"))
    installed = Installation.objects.installed().filter(has_access, account=account)
    row("app", installed, F("version__name"), "access", _NONE, by_account, at=F("installed_at"))
    has_access = looked_up(unended_consents().filter(access=OuterRef("pk")).order_by("access", "membership"))
    external = Access.objects.filter(has_access, account=account, installation_id=None, ended_at=None)
    by_account = Exists(agreed.filter(access=OuterRef("pk")))
    row("external", external, _named(), "pk", _NONE, by_account, at=F("opened_at"))
    agents = unended_consents().filter(access__account=account).exclude(membership=None)
    who = Coalesce(NullIf("membership__user__name", _NONE), "membership__user__email", output_field=CharField())
    by_agent = _person("membership__user", words)
    row("agent", agents, _named("access__"), "access", who, by_agent, member=F("membership_id"))

    first, *others = found
    # To sort many by name means to read them all first.
    return first.union(*others, all=True), partial(merged, ordered, ("place", "-at", "member", "pk"))


def _give_things(page: Any) -> None:
    """Give each row of the page what it is about, by a bounded number of queries."""
    found = {kind: [row["pk"] for row in page if row["kind"] == kind] for kind in KINDS}
    installed = Installation.objects.filter(pk__in=found["app"]).select_related("app__client", "access__client")
    external = Access.objects.filter(pk__in=found["external"]).select_related("client")
    consents = unended_consents().select_related("membership__user", "granted_by", "confirmed_by", "access__client")
    things = {row.pk: row for row in [*installed.defer("values"), *external, *consents.filter(pk__in=found["agent"])]}
    groups = [row["group"] for row in page if row["group"] and row["kind"] != "agent"]
    of_account = consents_of(groups, Q(membership=None)).select_related("granted_by", "confirmed_by", "access__client")
    by_account = {row.access_id: row for row in of_account}
    agents = agents_of(groups)
    for row in page:
        # None where it ended since the rows were counted.
        thing = row["thing"] = things.get(row["pk"])
        row["consent"] = thing if row["kind"] == "agent" else by_account.get(row["group"])
        row["access"] = thing if row["kind"] == "external" else thing and thing.access
        row["agents"] = agents.get(row["group"]) if row["kind"] != "agent" else None
    names = {name for row in page if row["consent"] for name in row["consent"].granted}
    scopes = {scope.name: scope for scope in Scope.objects.filter(name__in=names)}
    for row in page:
        row["scopes"] = [scopes[name] for name in row["consent"].granted if name in scopes] if row["consent"] else []


@require_safe
def overview(request: SignedInRequest) -> HttpResponse:
    accounts = accounts_run_by(request.user)
    choice = Choice(request, accounts)
    account = choice.pick()
    if account is None:
        raise Http404
    asked = Asked(
        request,
        placeholder=_("Search apps and people"),
        sorts={"name": _("Name")},
        filters=[Filter("kind", _("Kind"), _("All kinds"), list(KINDS.items()))],
    )
    kind = asked.value_of("kind")
    rows, many = _rows(account, asked.words, [kind] if kind else KINDS)
    page = paginate(request, rows.order_by("name", "group", "who", "pk"), many=many)
    _give_things(page)
    context = {
        "choice": choice,
        "account": account,
        "page_obj": page,
        "asked": asked,
        "now": database_now(),
    }
    return render(request, "marketplace/overview.html", context)
