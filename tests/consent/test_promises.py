"""The consent screen's promises, compared with what the check of a call allows."""

import datetime as dt
import json
import random
import re
from importlib import import_module
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings

from consent.asking import Terms
from consent.models import Access
from consent.screen import preview_screen
from credentials.models import Endpoint, Kind, Product
from credentials.registry import import_document, published
from marketplace.actions import installing, packaging, publishing
from marketplace.package.contents import Contents
from portal.foundation.database import database_now
from portal.ledger.models import Entry
from tests import factories
from tests.clock import stopped
from tests.factories import EDIT, VIEW
from tests.marketplace import packages
from tests.oauth import agree, answer, authorize_url, pkce, shown
from tests.people.forms import text
from tests.worlds import shared

pytestmark = pytest.mark.django_db
CATALOGUE = Path(settings.BASE_DIR) / "credentials/data/freshservice-openapi.json"
NOTHING_ELSE, NOTHING_DELETED = "that is not listed on this page", "change or delete anything"
UNSAFE = {"POST", "PUT", "PATCH", "DELETE"}


@shared
def catalogue(cast):
    product = Product.objects.get(slug="freshservice")
    import_document(product, json.loads(CATALOGUE.read_text()))
    return product


def screen_of(cast, scopes):
    """Return the screen that asks for exactly these scopes."""
    terms = Terms(frozenset(scopes), frozenset(), "Insights", "1.0", None)
    return preview_screen(cast.row, cast.acme, by=cast.admin, now=database_now(), terms=terms)


def test_the_promises_match_what_the_check_allows_for_every_scope_of_the_catalogue(cast, catalogue):
    names = sorted({name for endpoint in Endpoint.objects.filter(product=catalogue) for name in endpoint.scopes})
    assert len(names) == 167
    passes = {name: set() for name in names}
    for endpoint in Endpoint.objects.filter(product=catalogue):
        called = re.sub(r"\{[^}]+\}", "12345", endpoint.path)
        endpoint_called = published(catalogue.slug, catalogue.published).resolve(endpoint.method, called)
        for name in endpoint_called.scopes if endpoint_called else ():
            passes[name].add(str(endpoint_called))
    cast.row = factories.client(cast.dev, scopes=names)[0]
    chance = random.Random(11)
    sets = [[name] for name in names] + [chance.sample(names, chance.randint(2, 12)) for _number in range(40)]
    for scopes in sets:
        screen, calls = screen_of(cast, scopes), set().union(*(passes[name] for name in scopes))
        assert {str(each) for _scope, opened in screen.opened for each in opened} == calls, scopes
        promised = " ".join(screen.cannot)
        assert NOTHING_ELSE in promised
        assert (NOTHING_DELETED in promised) == (not any(call.split()[0] in UNSAFE for call in calls)), scopes


@pytest.mark.parametrize("name", ["tickets.edit", "requesters.edit", "projects.tasks.edit"])
def test_a_scope_that_opens_a_delete_route_promises_nothing_about_deleting(cast, catalogue, browse, client, name):
    scope = f"freshservice.{name}"
    row = factories.client(cast.dev, kind=Kind.EXTERNAL, scopes=[scope])[0]
    page = browse(cast.admin).get(authorize_url(row, pkce()[1], account=cast.acme.slug))
    assert "delete anything" not in text(page) and NOTHING_ELSE in text(page)
    deleting = Endpoint.objects.filter(product=catalogue, method="DELETE", scopes__contains=[scope])
    assert deleting and all(str(each) in text(page) for each in deleting), "they are listed"
    assert f"{len(deleting)} DELETE" in text(page)


def test_nothing_is_promised_about_a_scope_without_published_operations(cast, browse):
    document = json.loads(json.dumps(factories.DOCUMENT))
    scopes = document["components"]["securitySchemes"]["oauth2"]["flows"]["authorizationCode"]["scopes"]
    scopes["freshservice.reports.view"] = "View reports"
    import_document(Product.objects.get(), document)
    for names, promised in (([VIEW], True), ([VIEW, "freshservice.reports.view"], False)):
        row = factories.client(cast.dev, kind=Kind.EXTERNAL, scopes=names)[0]
        page = text(browse(cast.admin).get(authorize_url(row, pkce()[1], account=cast.acme.slug)))
        assert (NOTHING_ELSE in page) == (NOTHING_DELETED in page) == promised
        assert ("View reports: its product has not published a list" in page) == (not promised)


def test_scopes_allowed_before_but_not_requested_now_count_too(cast, browse):
    row = factories.client(cast.dev, kind=Kind.EXTERNAL, scopes=[VIEW, EDIT])[0]
    ada, url = browse(cast.admin), authorize_url(row, pkce()[1], account=cast.acme.slug)
    agree(ada, f"{url}&scope={EDIT}")
    page = text(ada.get(f"{url}&scope={VIEW}"))
    assert "app also wants to Freshservice Read only View tickets" in page
    assert "Already allowed: 1 permission Freshservice Change data Edit tickets" in page
    assert NOTHING_ELSE in page and NOTHING_DELETED not in page


def test_agreeing_covers_only_the_operations_that_were_shown(cast, browse, installed):
    """If the product publishes more after the page was read, the page must be read again."""
    ada, url = browse(cast.admin), authorize_url(installed.client, pkce()[1], account=cast.acme.slug)
    read = shown(ada.get(url))
    document = json.loads(json.dumps(factories.DOCUMENT))
    document["paths"]["/api/v2/tickets/{id}"]["delete"] = {"security": [{"oauth2": [VIEW]}]}
    import_document(Product.objects.get(), document)
    stale = ada.post(url, {"decision": "agree", "shown": read})
    assert stale.status_code == 409 and NOTHING_DELETED not in text(stale) and "1 DELETE" in text(stale)
    assert "code" in answer(ada.post(url, {"decision": "agree", "shown": shown(stale)}))


def test_the_receipt_shows_the_promises_as_they_were_read(cast, browse, installed):
    installed.consent = factories.agree(installed.client, cast.acme, cast.admin)
    entry = Entry.objects.get(event="consent.granted")
    import_document(Product.objects.get(), factories.DOCUMENT | {"paths": {}})
    page = browse(cast.admin).get(f"/receipts/{entry.pk}/")
    assert NOTHING_ELSE in text(page) and "GET /api/v2/tickets/{id}" in text(page)


@shared
def planner(cast):
    """An app with two vendors and one request template, installed in Acme."""
    row = factories.client(cast.dev)[0]
    files = packages.planner(row)
    files["config/requests.json"]["mail"] = {
        "schema": {"method": "POST", "host": "<%= iparam.owner %>.mailer.example", "path": "/send"}
    }
    files["manifest.json"]["modules"]["common"]["requests"]["mail"] = {}
    app = publishing.create_app(factories.team_of(cast.dev), slug="planner", client=row, by=cast.dev)
    version = publishing.create_version(app, by=cast.dev, **factories.version_fields(required_scopes=[]))
    report = packaging.fill_package(version, files, by=cast.dev)
    assert report.valid, report.problems
    publishing.publish_custom(version, accounts={cast.acme.slug}, by=cast.dev)
    return installing.install(app, cast.acme, by=cast.admin)


SERVICES = ["*.mailer.example", "Vendor a", "Vendor b"]


@pytest.mark.parametrize(
    ("host", "named"),
    [
        ("{{ iparam.owner }}.mailer.example", "*.mailer.example"),
        ("<%= iparam.owner || '%>' %>.mailer.example", "*.mailer.example"),
        ("<%= 'collector.example' %>", "collector.example"),
    ],
)
def test_a_host_is_named_as_its_template_is_filled_in(host, named):
    templates = {"mail": {"schema": {"method": "POST", "host": host}}}
    assert Contents({"config/requests.json": templates}).other_hosts == {named}


def test_every_page_that_asks_names_the_services_the_app_connects_to(cast, browse, planner):
    named = f"The app also connects to {' '.join(SERVICES)} "
    ada, row = browse(cast.admin), planner.access.client
    url = authorize_url(
        row, pkce()[1], installation=str(planner.pk), redirect_uri=f"{settings.BASE_URL}/oauth/callback"
    )
    version = f"/apps/planner/versions/{planner.version_id}/package/"
    assert "It calls: *.mailer.example." in text(ada.get("/marketplace/planner/"))
    for page in (ada.get(url), browse(cast.dev).get(version)):
        assert named in text(page) and NOTHING_ELSE in text(page)
    agree(ada, url)
    receipt = ada.get(f"/receipts/{Entry.objects.get(event='consent.granted').pk}/")
    assert named in text(receipt)
    consent = planner.access.consents.get()
    assert "(*.mailer.example, Vendor a, Vendor b) stay until" in text(ada.get(f"/consents/{consent.pk}/revoke/"))


def test_a_migration_fills_in_the_services_of_earlier_accesses(cast, planner, installed):
    Access.objects.update(services=[])
    import_module("marketplace.migrations.0011_services_of_accesses").fill(apps, None)
    planner.access.refresh_from_db()
    installed.installation.access.refresh_from_db()
    assert planner.access.services == SERVICES and installed.installation.access.services == []


def test_the_page_shows_the_end_that_is_stored(cast, browse, installed, settings):
    """Both are computed from the database's clock, whatever the process's clock says."""
    settings.CONSENT_LIFETIME = dt.timedelta(days=90)
    ada, url = browse(cast.admin), authorize_url(installed.client, pkce()[1], account=cast.acme.slug)
    with stopped() as now:
        now(dt.datetime(2031, 5, 6, 23, 50, tzinfo=dt.UTC))
        page = ada.get(url)
        assert "If you agree today, the agreement ends after 90 days, on Aug. 4, 2031" in text(page)
        ada.post(url, {"decision": "agree", "shown": shown(page)})
        consent = installed.installation.access.consents.get()
        assert consent.expires_at == page.context["screen"].ends_at == dt.datetime(2031, 8, 4, 23, 50, tzinfo=dt.UTC)


def test_texts_give_the_number_of_days_in_the_setting(cast, browse, installed, settings):
    settings.CONSENT_LIFETIME = dt.timedelta(days=90)
    factories.agree(installed.client, cast.acme, cast.admin)
    assert "ends 90 days after" in text(browse(cast.admin).get("/authorizations/ending/"))
