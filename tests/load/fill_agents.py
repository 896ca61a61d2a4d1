"""Fill a database with 10,000 agents of one account, and 10,000 of 1,000 accounts, who agreed to one client each.

Half of the tokens are of the one account, half of the many; an agent has several.
"""

import sys

import django

django.setup()

from consent.models import Consent  # noqa: E402
from credentials.models import Kind, Level  # noqa: E402
from tests import factories  # noqa: E402
from tests.load import filling  # noqa: E402
from tests.volume import Copies, grow_agents, multiply  # noqa: E402

AGENTS, ACCOUNTS = 10_000, 1000


def agreed(name):
    """Have an agent of a new account agree to a new client."""
    client, secret = factories.client(factories.person("Dev"), kind=Kind.EXTERNAL, level=Level.AGENT, name=name)
    account = factories.account(name.lower())
    return factories.agree(client, account, factories.member(account)), client, secret


def spread(consent):
    """Have agents of many more accounts agree to what one agreed to."""
    access, membership, copies = consent.access, consent.membership, Copies("many")
    multiply(access.account, ACCOUNTS, id=copies.number, slug="'many-' || n", name="'Many ' || n")
    multiply(access, ACCOUNTS, id=copies.key("access"), account_id=copies.number)
    # Of the n-th agent.
    account = Copies("many", n=f"(mod(n, {ACCOUNTS}) + 1)")
    multiply(
        membership.user, AGENTS, id=copies.number, email="'many' || n || '@example.com'", public_id=copies.key("person")
    )
    multiply(membership, AGENTS, id=copies.key("member"), user_id=copies.number, account_id=account.number)
    multiply(
        consent, AGENTS, id=copies.key("consent"), access_id=account.key("access"), membership_id=copies.key("member"),
        granted_by_id=copies.number,
    )  # fmt: skip


def main(database, count, folder):
    lines = {}
    for what, grow in (("one_account", lambda consent: grow_agents(consent, AGENTS)), ("many_accounts", spread)):
        consent, client, secret = agreed(what.replace("_", "-").title())
        grow(consent)
        consents = [*Consent.objects.filter(access__client=client)]
        issued = filling.issue(consents, count // 2)
        lines[what] = [
            filling.refresh(client, secret, family, salt, at=at) for at, (family, _, salt) in enumerate(issued)
        ]
    filling.write(folder, database, lines)


main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
