"""Pages and acts on versions, with ten installations and with many more."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from credentials import actions as credentials
from marketplace.actions import publishing
from marketplace.models import Offer
from tests import factories
from tests.factories import CREATE, EDIT, VIEW, version_fields
from tests.volume import grow_accounts

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("many", [1_000, pytest.param(10_000, marks=pytest.mark.soak)])
def test_lists_and_publishing_take_no_more_queries_for_many_installations_than_for_ten(installed, cast, browse, many):
    factories.agree(installed.client, cast.acme, cast.admin, chosen={EDIT})
    app = installed.version.app
    credentials.add_scopes(app.client, scopes={CREATE: "It grew"}, by=cast.dev)

    def draft(number):
        return publishing.create_version(app, by=cast.dev, **version_fields(number, required_scopes=[VIEW, CREATE]))

    def queries_of(version):
        """Count the queries before a version is published, while it is, and while it waits for everybody."""
        taken = {}
        changes = f"/apps/{app.slug}/versions/{version.pk}/changes/"
        pages = {
            cast.dev: [changes, f"/apps/{app.slug}/versions/{installed.version.pk}/withdraw/"],
            cast.admin: ["/", "/settings/", "/installations/waiting/", f"/installations/{installed.installation.pk}/"],
        }  # fmt: skip
        for person, urls in pages.items():
            browser = browse(person)
            for url in urls:
                with CaptureQueriesContext(connection) as queries:
                    assert browser.get(url).status_code == 200, url
                taken[url.replace(f"/{version.pk}/", "/new/")] = len(queries)
        return taken

    def are_no_more(taken, few):
        return taken.keys() == few.keys() and all(taken[url] <= few[url] for url in few)

    def publish(version):
        with CaptureQueriesContext(connection) as queries:
            factories.publish(version, cast.dev)
        return [query for query in queries if "marketplace_offer" in query["sql"]]

    grow_accounts(installed.installation, cast.admin, 9)
    first = draft("1.1")
    before = queries_of(first)
    publish(first)
    few = queries_of(first)
    assert Offer.objects.count() == 10
    publishing.withdraw_version(first, reason="Again", by=cast.dev)
    grow_accounts(installed.installation, cast.admin, many - 10, "more")
    second = draft("1.2")
    assert are_no_more(queries_of(second), before)
    assert len(publish(second)) <= 1 + many // 1_000, "a query for a thousand offers"
    assert Offer.objects.filter(version=second).count() == many
    assert are_no_more(queries_of(second), few)
