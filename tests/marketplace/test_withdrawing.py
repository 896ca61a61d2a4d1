"""Withdrawing a published version: admins who have it are told, and keep it or move to another (M4)."""

import pytest
from django.db import DatabaseError, transaction

from consent.models import Consent
from marketplace import tasks
from marketplace.actions import installing, publishing
from marketplace.models import Offer, OfferKind, Status, Version
from tests import factories
from tests.factories import CREATE, EDIT, VIEW, version_fields
from tests.mailing import outbox
from tests.marketplace.versions import next_version, scopes_now, upgrade
from tests.people.forms import text

pytestmark = pytest.mark.django_db


def test_a_withdrawn_version_keeps_working_and_its_admins_are_offered_the_earlier_one(agreed_app, cast, browse):
    version = next_version(agreed_app.version.app, cast.dev, required_scopes=[VIEW], optional_scopes=[EDIT, CREATE])
    upgrade(agreed_app.installation, version, cast.admin, chosen={CREATE})
    assert Consent.objects.get().granted == [CREATE, EDIT, VIEW]
    publishing.withdraw_version(version, reason="It loses tickets.", by=cast.dev)
    assert scopes_now(agreed_app, cast.acme) == [CREATE, EDIT, VIEW]
    offer = Offer.objects.get(kind=OfferKind.WITHDRAWN)
    assert offer.version == agreed_app.version
    outbox().clear()
    tasks.tell_of_offer(offer.pk)
    assert "It loses tickets." in outbox()[0].body
    page = browse(cast.admin).get(f"/installations/{agreed_app.installation.pk}/")
    assert "It loses tickets." in text(page)
    agreed_app.installation.refresh_from_db()
    back = upgrade(agreed_app.installation, agreed_app.version, cast.admin)
    assert back.version == agreed_app.version
    assert Consent.objects.get().granted == [EDIT, VIEW]


def test_a_withdrawn_version_cannot_be_installed_and_admins_are_told_if_it_was_the_only_one(agreed_app, cast):
    publishing.withdraw_version(agreed_app.version, reason="Over.", by=cast.dev)
    offer = Offer.objects.get()
    assert (offer.kind, offer.version) == (OfferKind.WITHDRAWN, None)
    with pytest.raises(installing.NotInstallable):
        installing.install(agreed_app.version.app, cast.globex, by=cast.globex_admin)
    outbox().clear()
    tasks.tell_of_offer(offer.pk)
    assert "No other version" in outbox()[0].body
    assert Version.objects.get().status == Status.WITHDRAWN


def test_a_waiting_account_is_told_when_its_version_is_withdrawn(agreed_app, cast):
    """The same step is then offered for another reason."""
    next_version(agreed_app.version.app, cast.dev, required_scopes=[VIEW, CREATE])
    offer = Offer.objects.get()
    tasks.tell_of_offer(offer.pk)
    outbox().clear()
    publishing.withdraw_version(agreed_app.version, reason="Old.", by=cast.dev)
    for _time in range(2):
        tasks.sweep_offers()
        tasks.tell_of_offer(offer.pk)
    assert [message.subject for message in outbox()] == ["Insights 1.0 was withdrawn"]
    assert Offer.objects.get().kind == OfferKind.WITHDRAWN


def test_the_reason_of_a_withdrawal_is_given_then_and_never_changes(agreed_app, cast):
    with pytest.raises(DatabaseError), transaction.atomic():
        Version.objects.update(withdrawn_because="Else")
    publishing.withdraw_version(agreed_app.version, reason="Over.", by=cast.dev)
    with pytest.raises(DatabaseError), transaction.atomic():
        Version.objects.update(withdrawn_because="Else")


def test_chosen_accounts_keep_at_most_three_published_versions(cast):
    row = factories.client(cast.dev)[0]
    app = publishing.create_app(factories.team_of(cast.dev), slug="custom", client=row, by=cast.dev)
    for number in ("1.0", "1.1", "1.2"):
        first = next_version(app, cast.dev, number, custom={cast.acme.slug}, required_scopes=[VIEW])
    with pytest.raises(publishing.TooManyVersions), transaction.atomic():
        next_version(app, cast.dev, "1.3", custom={cast.acme.slug}, required_scopes=[VIEW])
    publishing.withdraw_version(first, reason="Room", by=cast.dev)
    draft = publishing.create_version(app, by=cast.dev, **version_fields("1.4"))
    assert publishing.publish_custom(draft, accounts={cast.acme.slug}, by=cast.dev).status == Status.PUBLISHED
