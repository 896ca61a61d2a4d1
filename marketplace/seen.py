"""Which apps, versions, listings, installations and offers a person sees (E1)."""

from collections.abc import Iterable

from django.contrib.auth.models import AnonymousUser
from django.contrib.postgres.fields import ArrayField
from django.db.models import BooleanField, Func, OuterRef, Q, QuerySet, SlugField, Subquery, Value
from django.db.models.functions import Cast, Coalesce, NullIf

from consent.asking import undecided
from consent.models import Consent
from consent.validity import live_consents
from portal.accounts.models import Membership, User
from portal.accounts.rights import is_teammate
from portal.accounts.seen import accounts_seen_by, memberships_of, teams_seen_by
from portal.foundation.database import looked_up

from .actions.offering import with_answer
from .choices import Reach
from .models import App, Audience, Connection, Installation, Listing, Offer, OfferKind, Status, Version
from .vendors.actions import vendor_name

# --- developers ---


def apps_seen_by(user: User) -> QuerySet[App]:
    """Return the apps of a person's teams (E1), each with the `name` that its newest version or else its team gave it, or None."""
    versions = Version.objects.filter(app=OuterRef("pk")).exclude(status=Status.SNAPSHOT)
    apps = App.objects.filter(team__in=teams_seen_by(user)).select_related("team__test_account", "client")
    return apps.annotate(name=Coalesce(Subquery(versions.values("name")[:1]), NullIf("given_name", Value(""))))


def versions_seen_by(user: User) -> QuerySet[Version]:
    """Return the versions of the apps of a person's teams (E1)."""
    versions = Version.objects.filter(app__in=apps_seen_by(user))
    return versions.select_related("app__team__test_account", "app__client", "review")


# --- reviewers ---


def versions_to_review(user: User) -> QuerySet[Version]:
    """Return the versions in the queue that a reviewer may decide on, oldest first: none of their own teams' (M3)."""
    queue = Version.objects.filter(status=Status.IN_REVIEW).exclude(app__team__in=teams_seen_by(user))
    return queue.order_by("submitted_at", "pk")


# --- everyone, in the marketplace ---


def listings_seen_by(user: User | AnonymousUser) -> QuerySet[Listing]:
    """Return what a person may install: public versions, and in their place those for one of their accounts (M3).

    Nobody has to sign in to see what is public. All is looked up app by app, so that nobody's accounts are all read.
    """
    # Few apps are suspended. To look at the client of each app that is counted takes longer than all else.
    listings = Listing.objects.exclude(app__in=App.objects.filter(client__suspended_at__isnull=False))
    if isinstance(user, AnonymousUser):
        return listings.exclude(reach=Reach.CHOSEN)
    # Not through a join, which would look up the app of every listing.
    custom_accounts = App.objects.filter(pk=OuterRef(OuterRef("app"))).values("custom_accounts")
    slug_is_listed = Func(
        "slug",
        Cast(Subquery(custom_accounts), ArrayField(SlugField())),
        template="%(expressions)s)",
        arg_joiner=" = ANY (",
        output_field=BooleanField(),
    )
    is_for_them = looked_up(accounts_seen_by(user).filter(slug_is_listed))
    return listings.filter(
        Q(reach=Reach.ALL) | Q(is_for_them, reach=Reach.CHOSEN) | Q(~is_for_them, reach=Reach.OTHERS)
    )


def versions_of(listings: Iterable[Listing], *unread: str) -> list[Version]:
    """Return the versions of these listings, in their order, without the fields that are not read."""
    keys = [listing.version_id for listing in listings]
    versions = Version.objects.filter(pk__in=keys).select_related("app__team", "app__client")
    found = {
        version.pk: version for version in versions.annotate(has_icon=Q(icon__isnull=False)).defer("icon", *unread)
    }
    return [found[key] for key in keys]


def releases_seen_by(user: User | AnonymousUser, app: App) -> QuerySet[Version]:
    """Return the published versions of an app that a person may see, newest first (M3)."""
    versions = app.versions.filter(status=Status.PUBLISHED).order_by("-published_at", "-pk")
    if isinstance(user, AnonymousUser) or not accounts_seen_by(user).filter(slug__in=app.custom_accounts).exists():
        versions = versions.filter(audience=Audience.PUBLIC)
    return versions


def may_see_pictures(user: User | AnonymousUser, version: Version) -> bool:
    """Tell whether a person may see a version's icon and screenshots."""
    client = version.app.client
    if (
        version.audience == Audience.PUBLIC
        and version.status == Status.PUBLISHED
        and not (client and client.suspended_at)
    ):
        return True
    return not isinstance(user, AnonymousUser) and (
        user.is_staff
        or is_teammate(version.app.team, user)
        or (
            version.status == Status.PUBLISHED
            and accounts_seen_by(user).filter(slug__in=version.app.custom_accounts).exists()
        )
        or version.installations.filter(account__in=accounts_seen_by(user)).exists()
    )


# --- members of an account ---


def installations_seen_by(user: User) -> QuerySet[Installation]:
    """Return the installations of accounts that a person belongs to (E1)."""
    return (
        Installation.objects.filter(account__in=accounts_seen_by(user))
        .select_related("account", "app__team", "app__client", "version__app__client", "access__client", "installed_by")
        .defer("version__icon", "version__description")
    )


def installations_run_by(user: User) -> QuerySet[Installation]:
    """Return the installations of accounts that a person administers (E1)."""
    return installations_seen_by(user).filter(account__in=Membership.objects.administered_by(user))


def broken_connections_seen_by(user: User) -> tuple[QuerySet[Connection], QuerySet[Connection]]:
    """Return the broken connections that a person can make again: their own, and those of accounts that they administer."""
    broken = Connection.objects.filter(ended_at=None, installation__uninstalled_at=None).exclude(broken_at=None)
    # Nothing of what is suspended can be connected.
    broken = broken.filter(installation__account__suspended_at=None, installation__app__client__suspended_at=None)
    broken = broken.select_related("installation__account", "installation__version").order_by("-broken_at", "pk")
    administered = Membership.objects.administered_by(user)
    return (
        broken.filter(membership__in=memberships_of(user)),
        broken.filter(membership=None, installation__account__in=administered),
    )


def vendor_of(connection: Connection) -> str:
    """Return the name that people read of a connection's vendor."""
    return vendor_name(connection.installation, connection.integration)


def offers_seen_by(user: User) -> QuerySet[Offer]:
    """Return the offers that wait for a person as an admin, oldest first."""
    offers = Offer.objects.pending().filter(installation__account__in=Membership.objects.administered_by(user))
    rows = offers.exclude(kind=OfferKind.ITSELF).select_related("installation__account", "from_version", "version")
    return rows.defer(
        "from_version__icon", "from_version__description", "from_version__package",
        "version__icon", "version__description", "version__package",
    ).order_by("offered_at", "pk")  # fmt: skip


def consents_to_widen_seen_by(user: User) -> QuerySet[Consent]:
    """Return a person's own consents whose app asks for more and was not told no, newest first."""
    consents = live_consents().filter(undecided(), membership__in=memberships_of(user))
    consents = with_answer(consents).filter(said_no=False)
    return consents.select_related("access__client", "access__account").order_by("-granted_at", "pk")
