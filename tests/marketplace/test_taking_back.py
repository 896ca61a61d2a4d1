"""The team takes back a version in review: it stays unchanged, and a new draft copies everything (M2)."""

import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, transaction

from marketplace.actions import offering, publishing
from marketplace.actions.publishing import FIELDS, Frozen, StatusCannotMove
from marketplace.models import Status, Version
from portal.ledger.models import Entry
from tests import factories
from tests.factories import EDIT, VIEW, version_fields
from tests.marketplace import packages
from tests.people.forms import text
from tests.worlds import shared

pytestmark = pytest.mark.django_db


@shared
def review(cast):
    client, _secret = factories.client(cast.dev)
    draft = factories.app(
        cast.dev, client, optional_scopes=[EDIT], icon=b"icon", install_url="https://app.example/install"
    )
    publishing.change_version(draft, by=cast.dev, package=packages.good(client))
    return publishing.submit_version(draft, by=cast.dev)


def url(version, step=""):
    return f"/apps/{version.app.slug}/versions/{version.pk}/{step}"


def test_a_version_taken_back_can_no_longer_be_decided_on(cast, browse, review):
    dev = browse(cast.dev)
    assert "Cancel submission" in text(dev.get(url(review)))
    page = dev.post(url(review, "take-back/"), follow=True)
    assert "Submission canceled. To change something, copy the version to a new draft." in text(
        page
    ) and "Copy to a new draft" in text(page)
    review.refresh_from_db()
    assert review.status == Status.TAKEN_BACK
    rita = factories.reviewer()
    for decide in (publishing.approve_version, publishing.reject_version):
        with pytest.raises(StatusCannotMove, match="Submission canceled"):
            decide(review, reason="Too late", by=rita)
    window = browse(rita).get(f"/admin/marketplace/version/{review.pk}/change/")
    assert "Submission canceled" in text(window) and "press/approve" not in window.content.decode()
    assert review.name not in text(browse(rita).get("/admin/marketplace/version/"))
    assert Entry.objects.filter(chain=review.app.team.chain_name, event="version.taken_back").count() == 1


def test_a_version_taken_back_stays_frozen(cast, review):
    review = publishing.take_back_version(review, by=cast.dev)
    with pytest.raises(Frozen):
        publishing.change_version(review, by=cast.dev, tagline="Other")
    for changed in ({"tagline": "Other"}, {"package": {}}, {"status": "draft"}, {"status": "in_review"}):
        with pytest.raises(DatabaseError), transaction.atomic():
            Version.objects.filter(pk=review.pk).update(**changed)
    assert not offering.forecast(review).exists()


@pytest.mark.parametrize("decide", [publishing.approve_version, publishing.reject_version])
def test_a_version_decided_on_cannot_be_taken_back(cast, review, decide):
    version = decide(review, reason="Why", by=factories.reviewer())
    with pytest.raises(StatusCannotMove):
        publishing.take_back_version(version, by=cast.dev)
    with pytest.raises(DatabaseError), transaction.atomic():
        Version.objects.filter(pk=version.pk).update(status=Status.TAKEN_BACK)


def test_a_copy_has_everything_even_the_number_and_can_be_published(cast, browse, review):
    version = publishing.take_back_version(review, by=cast.dev)
    page = browse(cast.dev).post(url(version, "copy/"), follow=True)
    assert "Copied to a new draft. Make your changes, then submit it." in text(page)
    draft = Version.objects.get(app=version.app, status=Status.DRAFT)
    version.refresh_from_db()
    assert page.redirect_chain == [(url(draft), 302)]
    for name in FIELDS:
        assert getattr(draft, name) == getattr(version, name), name
    assert draft.number == "1.0" and VIEW in draft.scopes and draft.package and bytes(draft.icon) == b"icon"
    published_version = factories.publish(draft, cast.dev)
    assert (published_version.number, published_version.status) == ("1.0", Status.PUBLISHED)


def test_a_number_is_freed_only_by_taking_back(cast, review):
    version = publishing.take_back_version(review, by=cast.dev)
    draft = publishing.copy_version(version, by=cast.dev)
    for again in (
        lambda: publishing.copy_version(version, by=cast.dev),
        lambda: publishing.create_version(version.app, by=cast.dev, **version_fields("1.0")),
    ):
        with pytest.raises(ValidationError, match=r"Version 1\.0 already exists"):
            again()
    # Taken back once more, both keep the number, and a third version may use it.
    publishing.take_back_version(publishing.submit_version(draft, by=cast.dev), by=cast.dev)
    assert publishing.copy_version(version, by=cast.dev).number == "1.0"


def test_only_a_version_taken_back_can_be_copied(cast, browse, review):
    page = browse(cast.dev).post(url(review, "copy/"), follow=True)
    assert "This cannot be done while the version’s status is “" in text(page) and review.app.versions.count() == 1
