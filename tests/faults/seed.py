"""Seed the database of a run of faults, and print as JSON what the load needs. Run with the portal's settings.

Beside the accounts of the load it leaves work for every sweep: an agreement that has expired, another that ends soon, one
whose person left, tokens to erase, versions to offer and to install, mails to send, a suspension to tell of, a large download to prepare.
"""

import datetime as dt
import json
import sys

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.db import transaction  # noqa: E402
from django.db.models import F  # noqa: E402
from django.test import Client  # noqa: E402

from credentials.actions import make_product_secret, suspend_client  # noqa: E402
from credentials.models import Kind  # noqa: E402
from marketplace.actions import installing, publishing, upgrading  # noqa: E402
from portal.accounts.actions import inviting, memberships  # noqa: E402
from portal.accounts.models import Membership  # noqa: E402
from portal.ledger import preparing  # noqa: E402
from portal.ledger.filters import Filters  # noqa: E402
from portal.ledger.models import Export  # noqa: E402
from tests import factories, pressing  # noqa: E402, F401 (forms carry their tokens)
from tests.clock import advance  # noqa: E402
from tests.factories import EDIT, VIEW  # noqa: E402
from tests.oauth import AppSide, sign_in  # noqa: E402

REDIRECT_URI, INSTALL_URL = "https://app.example/callback", "https://app.example/install"


def session_of(user):
    browser = Client()
    sign_in(browser, user)
    return browser.cookies["sessionid"].value


def tokens(side, admin, account):
    browser = Client()
    sign_in(browser, admin)
    return side.tokens_for(browser, account=account.slug)


def app(dev, **more):
    client, secret = factories.client(dev, uris=(REDIRECT_URI, factories.REDIRECT_URI))
    draft = factories.app(dev, client, install_url=INSTALL_URL, **more)
    return client, secret, factories.publish(draft, dev)


def leave_work(dev):
    """Leave something for each sweep to find."""
    account = factories.account("old")
    admin, leaver = factories.member(account, "admin", "Ada"), factories.member(account, "admin", "Lea")
    for name, agreed, after in (
        ("Over", admin, dt.timedelta(days=1, hours=2)),
        ("Ends soon", admin, dt.timedelta(days=364)),
        ("Left behind", leaver, dt.timedelta(hours=22)),
    ):
        client, secret = factories.client(dev, kind=Kind.EXTERNAL, name=name)
        tokens(AppSide(Client(), client, secret), agreed, account)
        advance(after)
    memberships.remove_member(account, Membership.objects.get(account=account, user=leaver), by=admin)
    # One is installed by itself, of the other an admin is told, since it asks for more.
    for more in ([VIEW], [VIEW, EDIT]):
        client, _secret, version = app(dev)
        installation = installing.install(version.app, account, by=admin)
        factories.agree(client, account, admin)
        upgrading.set_upgrades_itself(installation, on=True, by=admin)
        fields = factories.version_fields("1.1", required_scopes=more, install_url=INSTALL_URL)
        factories.publish(publishing.create_version(version.app, by=dev, **fields), dev)
    suspend_client(client, reason="It is slow", by=factories.reviewer())
    for number in range(3):
        inviting.invite(account, email=f"invited{number}@example.com", role="agent", by=admin)
    preparing.ask(Filters(admin), "csv")
    Export.objects.update(worked_at=F("worked_at") - dt.timedelta(seconds=preparing.IDLE))


def main(tenants):
    product = make_product_secret(factories.product(), by=None)
    dev = factories.person("Dev")
    with transaction.atomic():
        leave_work(dev)
    client, secret, version = app(dev)
    accounts = []
    for _number in range(tenants):
        account = factories.account("load")
        admin = factories.member(account, "admin", "Ada")
        accounts.append({"slug": account.slug, "session": session_of(admin)})
    told = {
        "product": product,
        "app": version.app.slug,
        "client_id": client.client_id,
        "secret": secret,
        "redirect_uri": REDIRECT_URI,
        "scope": VIEW,
        "accounts": accounts,
        "lives": settings.ACCESS_TOKEN_LIFETIME.total_seconds(),
    }
    print(json.dumps(told))


main(int(sys.argv[1]))
