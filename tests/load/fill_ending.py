"""Fill a database with one app that 10,000 agents of an account authorized, and with its tokens."""

import json
import sys
from pathlib import Path

import django

django.setup()

from django.test import Client as Browser  # noqa: E402

from consent.models import Consent  # noqa: E402
from credentials.models import Level  # noqa: E402
from marketplace.actions import installing  # noqa: E402
from tests import factories  # noqa: E402
from tests.load import filling  # noqa: E402
from tests.oauth import sign_in  # noqa: E402
from tests.volume import grow_agents  # noqa: E402

AGENTS = 10_000


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
