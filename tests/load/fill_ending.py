"""Fill a database with one app that 10,000 agents of an account authorized, and with its tokens.

As many more expired two days ago, and as many were revoked then, each at a time of its own, as the clock and Celery do it.
"""

import json
import sys
from pathlib import Path

import django

django.setup()

from django.db import connection  # noqa: E402
from django.test import Client as Browser  # noqa: E402

from consent.models import Consent  # noqa: E402
from credentials.models import Level  # noqa: E402
from marketplace.actions import installing  # noqa: E402
from tests import factories  # noqa: E402
from tests.load import filling  # noqa: E402
from tests.oauth import sign_in  # noqa: E402
from tests.volume import grow_agents  # noqa: E402

AGENTS = 10_000


def add_ended(count):
    ended = "statement_timestamp() - interval '2 days' - n * interval '1 microsecond'"
    later = "statement_timestamp() + interval '9 days'"
    with connection.cursor() as cursor, filling.in_bulk(cursor, "consent_accesstoken"):
        cursor.execute(
            "INSERT INTO consent_accesstoken (token_checksum, consent_id, scope, created, expires, revoked_at)"
            " SELECT encode(sha256(gen_random_uuid()::text::bytea), 'hex'), id, '',"
            f" statement_timestamp() - interval '3 days', CASE WHEN is_revoked THEN {later} ELSE {ended} END,"
            f" CASE WHEN is_revoked THEN {ended} END"
            " FROM generate_series(1, %s) n CROSS JOIN (VALUES (false), (true)) how (is_revoked)"
            " JOIN (SELECT id, row_number() OVER () - 1 AS number FROM consent_consent) each ON number = n %% %s"
            # As they were issued, which is about as they ended.
            " ORDER BY is_revoked, n DESC",
            [count, AGENTS],
        )


def main(database, count, folder):
    factories.product()
    dev, account = factories.person("Dev"), factories.account("acme")
    admin, agent = factories.member(account, "admin", "Ada"), factories.member(account, "agent", "Axel")
    client, secret = factories.client(dev, level=Level.AGENT, name="Ending")
    draft = factories.app(dev, client, install_url="https://app.example/")
    version = factories.publish(draft, dev, by=factories.reviewer())
    installation = installing.install(version.app, account, by=admin)
    grow_agents(factories.agree(client, account, agent), AGENTS - 1)
    issued = filling.issue([*Consent.objects.all()], count)
    add_ended(count)
    lines = {
        "refresh": [
            filling.refresh(client, secret, family, salt, at=at) for at, (family, _, salt) in enumerate(issued)
        ],
        "check": [
            filling.line(f"Bearer {filling.bearer(family, salt)}", "GET", "/oauth/check/freshservice")
            for family, _, salt in issued
        ],
    }
    filling.write(folder, database, lines)
    browser = Browser()
    sign_in(browser, admin)
    told = {"sessionid": browser.cookies["sessionid"].value, "path": f"/installations/{installation.pk}/uninstall/"}
    Path(folder, f"{database}-admin.json").write_text(json.dumps(told))


main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
