"""One page of all that has access to an account: its apps, its external apps, and what each agent authorized."""

from typing import Any

from django.db.models import CharField, Count, Exists, F, Max, OuterRef, Q, Value
from django.db.models.functions import Coalesce, NullIf
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from consent.models import Access
from consent.validity import unended_consents
from credentials.models import Scope
from portal.accounts.models import Account
from portal.accounts.requests import SignedInRequest
from portal.accounts.rights import accounts_run_by
from portal.foundation.database import database_now
from portal.foundation.pages import paginate

from ..models import Installation

KINDS = {"app": _("Marketplace apps"), "external": _("External apps"), "agent": _("Agents’ authorizations")}
_NONE = Value("", output_field=CharField())


def _named(access: Any = "") -> Any:
    """What an app is called, as `Access.name` says it."""
    return Coalesce(NullIf(f"{access}app_name", _NONE), f"{access}client__name", output_field=CharField())


def _person(path: str, words: Any) -> Any:
    return Q(**{f"{path}__name__icontains": words}) | Q(**{f"{path}__email__icontains": words})


def _rows(account: Account, words: Any) -> dict[str, Any]:
    """{kind: a query of the rows of that kind whose app or person fits `words`}, all of the same columns."""
    agreed = unended_consents().filter(_person("granted_by", words), membership=None)

    def row(rows: Any, name: Any, group: Any, who: Any, agreed_by: Any) -> Any:
        """`group` keeps an agent's row below its app's."""
        rows = rows.annotate(name=name, group=F(group), who=who)
        rows = rows.filter(Q(name__icontains=words) | agreed_by) if words else rows
        return rows.order_by()

    by_account = Exists(agreed.filter(access=OuterRef("access")))
    installed = Installation.objects.installed().filter(account=account)
    external = Access.objects.filter(account=account, installation_id=None, ended_at=None)
    agents = unended_consents().filter(access__account=account).exclude(membership=None)
    who = Coalesce(NullIf("membership__user__name", _NONE), "membership__user__email", output_field=CharField())
    found = {
        "app": row(installed, F("version__name"), "access", _NONE, by_account),
        "external": row(external, _named(), "pk", _NONE, Exists(agreed.filter(access=OuterRef("pk")))),
        "agent": row(agents, _named("access__"), "access", who, _person("membership__user", words)),
    }
    return {
        kind: rows.annotate(kind=Value(kind, output_field=CharField())).values("name", "group", "who", "kind", "pk")
        for kind, rows in found.items()
    }


def _give_things(page: Any) -> None:
    """Give each row of the page what it is about, by a bounded number of queries."""
    found = {kind: [row["pk"] for row in page if row["kind"] == kind] for kind in KINDS}
    installed = Installation.objects.filter(pk__in=found["app"]).select_related("app__client", "access__client")
    external = Access.objects.filter(pk__in=found["external"]).select_related("client")
    consents = unended_consents().select_related("membership__user", "granted_by", "confirmed_by", "access__client")
    things = {row.pk: row for row in [*installed.defer("values"), *external, *consents.filter(pk__in=found["agent"])]}
    groups = [row["group"] for row in page if row["group"] and row["kind"] != "agent"]
    by_account = {row.access_id: row for row in consents.filter(access__in=groups, membership=None)}
    by_agents = consents.filter(access__in=groups).exclude(membership=None).order_by()
    agents = {
        row["access"]: row for row in by_agents.values("access").annotate(count=Count("pk"), last=Max("last_issued_at"))
    }
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
    accounts = accounts_run_by(request.user).order_by("name", "pk")
    shown = paginate(request, accounts, name="accounts")
    chosen = request.GET.get("account")
    account = accounts.filter(slug=chosen.replace("\0", "")).first() if chosen is not None else next(iter(shown), None)
    if account is None:
        raise Http404
    words, kind = request.GET.get("q", "").strip(), request.GET.get("kind", "")
    rows = _rows(account, words)
    first, *others = [rows[kind]] if kind in rows else rows.values()
    page = paginate(request, first.union(*others, all=True).order_by("name", "group", "who", "pk"))
    _give_things(page)
    context = {
        "accounts": shown,
        "account": account,
        "page_obj": page,
        "kinds": KINDS,
        "kind": kind,
        "query": words,
        "now": database_now(),
    }
    return render(request, "marketplace/overview.html", context)
