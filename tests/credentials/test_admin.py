"""A reviewer's window on credentials, in Django admin."""

import re

import pytest

from credentials import actions
from credentials.authentication import check_product_secret
from credentials.models import ProductSecret
from portal.foundation.models import SentForm
from portal.ledger.models import Entry
from tests import factories
from tests.factories import DELETE
from tests.pressing import token
from tests.worlds import shared

pytestmark = pytest.mark.django_db


@shared
def row(cast):
    row, _secret = factories.client(cast.dev)
    actions.add_scopes(row, scopes={DELETE: "To tidy up"}, by=cast.dev)
    return row


def press(browser, row, button, **posted):
    return browser.post(f"/admin/credentials/client/{row.pk}/press/{button}/", posted)


def test_a_reviewer_reads_all_scopes_newest_first_with_who_added_each_and_why(row, browse):
    page = browse(factories.reviewer()).get(f"/admin/credentials/client/{row.pk}/change/").content.decode()
    assert page.index(DELETE) < page.index("freshservice.tickets.edit")
    assert "To tidy up" in page and "Dev" in page and "Delete and restore tickets" in page


def test_a_reviewer_suspends_and_lifts_with_a_reason(row, browse):
    rita = browse(factories.reviewer())
    assert "Reason" in rita.get(f"/admin/credentials/client/{row.pk}/press/suspend/").content.decode()
    assert press(rita, row, "suspend").status_code == 422
    assert press(rita, row, "suspend", reason="Harmful").status_code == 302
    row.refresh_from_db()
    assert row.suspended_at
    again = rita.post(f"/admin/credentials/client/{row.pk}/press/suspend/", {"reason": "Again"}, follow=True)
    assert "cannot be done" in again.content.decode() and "Harmful" in again.content.decode()
    assert "Again" not in str(list(Entry.objects.values("details")))
    assert press(rita, row, "lift", reason="Fixed").status_code == 302
    row.refresh_from_db()
    assert row.suspended_at is None
    assert press(rita, row, "explode", reason="x").status_code == 403


def test_the_developers_read_why_it_is_suspended(cast, row, browse):
    actions.suspend_client(row, reason="It mails strangers", by=factories.reviewer())
    assert "It mails strangers" in browse(cast.dev).get(f"/credentials/{row.client_id}/").content.decode()


def test_being_staff_or_a_superuser_is_not_enough(row, browse, cast):
    staff = factories.person("Stan", is_staff=True)
    root = factories.person("Sue", is_staff=True, is_superuser=True)
    for who in (staff, root):
        browser = browse(who)
        assert browser.get("/admin/credentials/client/").status_code == 403
        assert browser.get(f"/admin/credentials/client/{row.pk}/change/").status_code in (302, 403)
        assert press(browser, row, "suspend", reason="x").status_code == 403
    for who in (cast.dev, cast.admin):
        assert browse(who).get("/admin/credentials/client/", follow=True).status_code == 403
    row.refresh_from_db()
    assert row.suspended_at is None


def test_a_products_secret_is_shown_once(browse):
    product = factories.product()
    sue = browse(factories.person("Sue", is_staff=True, is_superuser=True))
    url = f"/admin/credentials/product/{product.pk}/press/secret/"
    assert "amp_ps_" not in sue.get(url).content.decode() and not ProductSecret.objects.exists()
    sent = {"once": token(sue, url)}
    page = sue.post(url, sent)
    assert "no-store" in page["Cache-Control"]
    secret = re.search(r"amp_ps_[\w-]{49}", page.content.decode())[0]
    # A second press shows it again, for a minute.
    assert secret in sue.post(url, sent).content.decode() and ProductSecret.objects.count() == 1
    SentForm.objects.update(sent_at="2026-01-01T00:00Z")
    page = sue.post(url, sent, follow=True).content.decode()
    assert "can no longer be shown" in page and "amp_ps_" not in page and ProductSecret.objects.count() == 1
    assert check_product_secret("freshservice", secret) == product
    assert browse(factories.reviewer()).post(url).status_code == 403 and ProductSecret.objects.count() == 1


def test_filters_offer_only_what_occurs(row, browse):
    page = browse(factories.reviewer()).get("/admin/credentials/client/").content.decode()
    assert re.findall(r'<a class="nav-link[^>]*>([^<]*)</a>', page) == [
        "All", row.get_kind_display(), "All", row.get_level_display()
    ]  # fmt: skip


def test_a_suspension_can_start_from_a_ready_text(row, browse):
    rita, url = browse(factories.reviewer()), f"/admin/credentials/client/{row.pk}/press/suspend/"
    page = rita.get(f"{url}?ready=leak").content.decode()
    assert re.search(r"<textarea[^>]*>\s*A client secret of these credentials was found", page)
    # Lifting has none to choose from.
    press(rita, row, "suspend", reason="Harmful")
    assert "?ready=" not in rita.get(url.replace("suspend", "lift")).content.decode()
