"""Offer published versions to installations, and alternatives to withdrawn ones (M4)."""

from collections.abc import Iterable
from copy import copy
from itertools import islice
from typing import Any

from django.db.models import Avg, Case, CharField, Count, Exists, F, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Cast, Coalesce, Concat

from consent.asking import undecided
from consent.events import Event as ConsentEvent
from consent.validity import live_consents
from credentials.models import Scope
from portal.foundation.broker import queue_on_commit
from portal.foundation.mail import Mail, mail_once
from portal.foundation.models import MailKind
from portal.ledger.models import Entry

from ..differences import Difference
from ..models import Audience, Installation, Offer, OfferKind, Status, Version

BATCH = 1000
# A mail lists this many permissions; the page lists all.
LISTED = 10


def forecast(version: Version, audience: str = "") -> QuerySet[Installation]:
    """Return the installations that a version is for, each with its `kind` (of OfferKind) and how many `agents` authorized it.

    Publishing acts on the same query that a developer is shown before. `audience` replaces a draft's own. Pages show it at
    once: for 10,000 installations a page takes 18 queries and half a second on two busy cores.
    """
    if not version.audience:
        version = copy(version)
        version.audience = audience
    rows = Installation.objects.filter(app=version.app_id, uninstalled_at=None, account__suspended_at=None)
    if version.status in (Status.REJECTED, Status.WITHDRAWN, Status.TAKEN_BACK):
        return _described(rows.none(), [])
    rows = rows.exclude(version=version).exclude(version__status=Status.SNAPSHOT)
    if version.audience == Audience.CUSTOM:
        rows = rows.filter(account__slug__in=version.app.custom_accounts)
    if version.published_at:
        # They get a later version instead.
        later = version.app.versions.filter(status=Status.PUBLISHED, published_at__gt=version.published_at)
        if later.filter(audience=Audience.PUBLIC).exists():
            return _described(rows.none(), [])
        if later.exists():
            rows = rows.exclude(account__slug__in=version.app.custom_accounts)
    client = version.app.client
    agreed = live_consents().filter(access=OuterRef("access"), membership=None)
    kinds = []
    in_use = Installation.objects.filter(app=version.app_id, uninstalled_at=None).values("version")
    for old in Version.objects.filter(pk__in=in_use).defer("icon", "description"):
        old.app = version.app
        step, on_it = Difference(old, version), Q(version=old)
        if step.always_asks or (step.raised_scopes and client and client.is_agent_level):
            kinds.append(When(on_it, then=Value(OfferKind.ASK)))
            continue
        if step.raised_scopes:
            has_them = Exists(agreed.filter(granted__contains=sorted(step.raised_scopes)))
            kinds.append(When(on_it & ~Q(has_them), then=Value(OfferKind.ASK)))
        if step.is_for_a_person:
            kinds.append(When(on_it, then=Value(OfferKind.CLICK)))
    return _described(rows, kinds)


def _described(rows: QuerySet[Installation], kinds: list[When]) -> QuerySet[Installation]:
    itself = When(upgrades_itself=True, then=Value(OfferKind.ITSELF))
    of_it = live_consents().filter(access=OuterRef("access")).exclude(membership=None).order_by()
    agents = of_it.values("access").annotate(count=Count("pk")).values("count")
    return rows.annotate(kind=Case(*kinds, itself, default=Value(OfferKind.CLICK)), agents=Coalesce(agents, Value(0)))


def offer_version(version: Version) -> None:
    """Offer a published version once to every installation that it is for."""
    rows = forecast(version).values_list("pk", "version_id", "kind").order_by("pk")  # type: ignore[misc]
    step = {"version": version}
    _offer(Offer(installation_id=pk, from_version_id=old, kind=kind, **step) for pk, old, kind in rows.iterator())


def offer_another(version: Version) -> None:
    """Offer another published version, if there is one, once to every installation of a withdrawn version."""
    left = version.app.versions.filter(status=Status.PUBLISHED).order_by("-published_at", "-pk")
    for_all, for_some = left.filter(audience=Audience.PUBLIC).first(), left.first()
    listed = set(version.app.custom_accounts)
    rows = Installation.objects.filter(version=version, uninstalled_at=None, account__suspended_at=None)
    _offer(
        Offer(
            installation_id=pk,
            from_version=version,
            version=for_some if slug in listed else for_all,
            kind=OfferKind.WITHDRAWN,
        )
        for pk, slug in rows.values_list("pk", "account__slug").order_by("pk").iterator()
    )


def _offer(offers: Iterable[Offer]) -> None:
    made = iter(offers)
    while batch := [*islice(made, BATCH)]:
        Offer.objects.bulk_create(batch, ignore_conflicts=True)


def queue_offers() -> None:
    """On commit, have workers act on the offers; without a broker, beat does (T3)."""
    queue_on_commit("marketplace.tasks.sweep_offers")


# --- what a developer sees ---


def progress(version: Version) -> dict[str, Any]:
    """Count the admins who agreed, declined and have yet to answer, since when the first waits, and the installations updated unasked."""
    asked = Offer.objects.filter(version=version, kind=OfferKind.ASK)
    pending = asked.pending().order_by("offered_at")
    took = asked.exclude(taken_at=None)
    return {
        "waiting": pending.count(),
        "waiting_since": pending.values_list("offered_at", flat=True).first(),
        "agreed": took.count(),
        "took": took.annotate(took=F("taken_at") - F("offered_at")).aggregate(mean=Avg("took"))["mean"],
        "declined": asked.open().exclude(declined_at=None).count(),
        "moved": version.offers.exclude(kind=OfferKind.ASK).exclude(taken_at=None).count(),
    }


def with_answer(consents: QuerySet) -> QuerySet:
    """Annotate agents' consents with `said_no`: they pressed Cancel since their account moved to its version."""
    here = Offer.objects.filter(
        installation__access=OuterRef("access"),
        version=OuterRef("access__installation__version"),
        taken_at__isnull=False,
    )
    moved_at = Subquery(here.order_by("-taken_at").values("taken_at")[:1])
    cancelled = Entry.objects.filter(
        chain=Concat(Value("account:"), OuterRef("access__account__slug")),
        event=ConsentEvent.CONSENT_DECLINED,
        subject=Concat(Value("client:"), OuterRef("access__client__client_id")),
        actor=Concat(Value("person:"), Cast(OuterRef("membership__user__public_id"), CharField())),
        at__gt=OuterRef("here_since"),
    )
    since = consents.annotate(here_since=Coalesce(moved_at, "access__installation__installed_at"))
    return since.annotate(said_no=Exists(cancelled))


def agents_answers(version: Version) -> dict[str, int]:
    """Count how agents with live consents answered what a version of an agent-level app asks, where it is installed."""
    installed = Installation.objects.filter(version=version, uninstalled_at=None)
    consents = live_consents().filter(access__in=installed.values("access"), membership__isnull=False)
    waits, said_no = undecided(), Q(said_no=True)
    agreed = ~waits & Q(granted__contains=version.required_scopes)
    all_of_it = Q(granted__contains=sorted(version.scopes))
    return with_answer(consents).aggregate(
        agreed=Count("pk", filter=agreed),
        left_some_off=Count("pk", filter=agreed & ~all_of_it),
        took_back=Count("pk", filter=~waits & ~agreed),
        declined=Count("pk", filter=waits & said_no),
        waiting=Count("pk", filter=waits & ~said_no),
    )


# --- what workers do, each safe to run twice (T3) ---


def _named(offer: Offer) -> dict[str, Any]:
    """Return what an offer asks for that the account has not agreed to, for its mail: permissions, and vendors to connect."""
    if offer.version is None:
        return {}
    step = Difference(offer.from_version, offer.version)
    rows = live_consents().filter(access=offer.installation.access_id, membership=None)
    agreed = {*(rows.values_list("granted", flat=True).first() or [])}
    new = (step.added_scopes | step.raised_scopes) - agreed
    scopes: list[Any] = list(Scope.objects.filter(name__in=new).order_by("name"))
    for scope in scopes:
        scope.is_optional = scope.name in offer.version.optional_scopes
    return {
        "count": len(scopes),
        "scopes": scopes[:LISTED],
        "more": len(scopes[LISTED:]),
        "vendors": step.vendors_to_connect,
    }


def tell_of_offer(offer: Offer) -> None:
    """Mail an account's admins, once, about what waits for them."""
    rows = Offer.objects.to_tell().select_related(
        "installation__account", "from_version__app__client", "version__app__client"
    )
    # One lock for all offers of an installation: to_tell() leaves out installations that were told of another offer.
    mail_once(f"offers:{offer.installation_id}", rows.filter(pk=offer.pk), _mail)


def _mail(rows: list[Offer]) -> Mail:
    (offer,) = rows
    installation = offer.installation
    context = {
        "offer": offer,
        "installation": installation,
        "withdrawn": offer.kind == OfferKind.WITHDRAWN,
        **_named(offer),
    }
    admins = installation.account.memberships.admins().people()
    return Mail(MailKind.VERSIONS, "marketplace/mail/offer.txt", admins, context)
