"""One portal with an https BASE_URL, one API, and each gateway between them, for a whole module."""

import datetime as dt
from types import SimpleNamespace

import pytest
from django.db import connection
from django.test import Client as Browser

from credentials.actions import set_base_address
from credentials.models import Kind
from tests import factories
from tests.clock import advance
from tests.gateways.api import Api
from tests.gateways.serving import FILES, Gateway
from tests.oauth import AppSide, sign_in
from tests.servers import Server


@pytest.fixture(scope="module")
def tokens(django_db_setup, django_db_blocker):
    """Access tokens by what is true of them. `good` may view and edit tickets."""
    with django_db_blocker.unblock():
        set_base_address(factories.product(), base_address="https://api.example.com/api/v2", by=None)
        acme, developer = factories.account("acme"), factories.person("Dev")
        browser = Browser()
        sign_in(browser, factories.member(acme, "admin", "Ada"))

        def token(scopes=(factories.VIEW, factories.EDIT)):
            client = factories.client(developer, kind=Kind.EXTERNAL, scopes=scopes)
            side = AppSide(Browser(), *client)
            return side, side.tokens_for(browser, account=acme.slug)["access_token"]

        _, expired = token()
        advance(dt.timedelta(minutes=31))
        side, good = token()
        ended, revoked = token()
        access = ended.client.accesses.get()
        browser.post(f"/authorizations/{access.pk}/end/")
        _, narrow = token([factories.CREATE])
        yield SimpleNamespace(
            good=good, expired=expired, revoked=revoked, narrow=narrow, unknown=good[:-1] + "x", client=side.client,
            account=acme.slug, code="amp_ac_x",
        )  # fmt: skip
        connection.ops.sql_flush(None, connection.introspection.django_table_names(only_existing=True))
        connection.ops.execute_sql_flush([])


@pytest.fixture(scope="module")
def portal(tokens):
    server = Server(BASE_URL="https://portal.example.com", ALLOWED_HOSTS="portal.example.com,api.example.com,127.0.0.1")
    try:
        yield server.wait()
    finally:
        server.stop()


@pytest.fixture(scope="module")
def api():
    served = Api()
    yield served
    served.stop()


@pytest.fixture(scope="module", params=FILES)
def gateway(request, portal, api, tmp_path_factory):
    running = Gateway(request.param, portal=portal.port, api=api.port, folder=tmp_path_factory.mktemp(request.param))
    try:
        yield running.wait()
    finally:
        running.stop()
