"""Fill a database with the demo, a full page of the marketplace and a request to agree, and print as JSON who is signed in by
which session and the addresses that depend on it: {"sessions": {email: key}, "consent", "client"}.
"""

import json
import sys
from io import StringIO
from urllib.parse import urlencode

import django

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection, transaction  # noqa: E402
from django.test import Client as Browser  # noqa: E402

from marketplace.actions import installing  # noqa: E402
from marketplace.models import App, Status  # noqa: E402
from portal.accounts.models import Account, User  # noqa: E402
from tests.backend.base import unguarded  # noqa: E402
from tests.oauth import pkce, sign_in  # noqa: E402
from tests.volume import Copies, multiply, relist  # noqa: E402

# More than a page of the marketplace shows.
APPS = 40


def grow_marketplace():
    number = Copies("audit").number
    version = App.objects.get(slug="ticket-insights").versions.filter(status=Status.PUBLISHED).latest("pk")
    with transaction.atomic(), connection.cursor() as cursor, unguarded(cursor, None):
        multiply(version.app, APPS, id=number, slug="'audit-' || n", client_id="NULL")
        multiply(version, APPS, id=number, app_id=number, name="'Insights ' || n")
        relist()


def session(user):
    browser = Browser()
    sign_in(browser, user)
    return browser.cookies["sessionid"].value


def main():
    call_command("seed_demo", stdout=StringIO())
    grow_marketplace()
    people = {email: User.objects.get(email=email) for email in ("dev@example.com", "admin@acme.example")}
    app = App.objects.get(slug="ticket-insights")
    installing.install(app, Account.objects.get(slug="acme"), by=people["admin@acme.example"])
    asked = {
        "response_type": "code", "client_id": app.client.client_id, "redirect_uri": app.client.redirect_uris.split()[0],
        "state": "s", "code_challenge": pkce()[1], "code_challenge_method": "S256", "account": "acme",
    }  # fmt: skip
    told = {
        "sessions": {email: session(user) for email, user in people.items()},
        "consent": f"/oauth/authorize?{urlencode(asked)}",
        "client": app.client.client_id,
    }
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
