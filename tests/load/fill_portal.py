"""Fill the portal's database: 200 clients by actions, and as many tokens under their consents as asked for."""

import sys

import django

django.setup()

from django.db import connection  # noqa: E402

from credentials.actions import make_product_secret  # noqa: E402
from credentials.models import Kind, Level  # noqa: E402
from credentials.secrets import AUTHORIZATION_CODE, digest, generate  # noqa: E402
from marketplace.actions import installing  # noqa: E402
from portal.demo.sandbox.models import Ticket  # noqa: E402
from tests import factories  # noqa: E402
from tests.load import filling  # noqa: E402
from tests.load.filling import basic, line  # noqa: E402
from tests.oauth import pkce  # noqa: E402

CLIENTS, CODES, TICKETS = 200, 200_000, 1000
VERIFIER, CHALLENGE = pkce()


def clients(account):
    """Yield a consent, its client and its secret, for clients of both kinds and levels in turn."""
    dev, reviewer = factories.person("Dev"), factories.reviewer()
    admin, agent = factories.member(account, "admin", "Ada"), factories.member(account, "agent", "Axel")
    for number in range(CLIENTS):
        kind = (Kind.EXTERNAL, Kind.PLATFORM)[number // 2 % 2]
        level = (Level.ACCOUNT, Level.AGENT)[number % 2]
        client, secret = factories.client(dev, kind=kind, level=level, name=f"Load {number}")
        if kind == Kind.PLATFORM:
            draft = factories.app(dev, client, optional_scopes=[factories.EDIT], install_url="https://app.example/")
            version = factories.publish(draft, dev, by=reviewer)
            installing.install(version.app, account, by=admin)
        who = agent if level == Level.AGENT else admin
        yield factories.agree(client, account, who, chosen=[factories.EDIT]), client, secret


def codes(who, count):
    """Issue codes, and yield the requests that exchange them."""
    columns = "code, consent_id, scope, expires, redirect_uri, code_challenge, code_challenge_method"
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp() + interval '9 days'")
        expires = cursor.fetchone()[0]
        with cursor.copy(f"COPY consent_authorizationcode ({columns}) FROM STDIN") as rows:
            for number in range(count):
                consent, client, secret = who[number % CLIENTS]
                code = generate(AUTHORIZATION_CODE)
                scope = " ".join(sorted(consent.granted))
                rows.write_row((digest(code), consent.pk, scope, expires, factories.REDIRECT_URI, CHALLENGE, "S256"))
                form = {"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER}
                form |= {"redirect_uri": factories.REDIRECT_URI}
                yield line(basic(client.client_id, secret), "POST", "/oauth/token", form)


def list_drawn(count):
    """List tokens for pgbench to draw, with all that the statements need."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE bench_drawn AS"
            " SELECT row_number() OVER (ORDER BY token_checksum)::int AS number, token_checksum AS checksum, family_id AS family,"
            " client.client_id AS client, secret.hash AS secret"
            " FROM consent_accesstoken token TABLESAMPLE BERNOULLI (%s) JOIN consent_consent consent ON consent.id = consent_id"
            " JOIN consent_access access ON access.id = access_id JOIN credentials_client client ON client.id = access.client_id"
            " JOIN credentials_clientsecret secret ON secret.client_id = client.id",
            [filling.share(count)],
        )
        cursor.execute("ALTER TABLE bench_drawn ADD PRIMARY KEY (number)")


def main(database, count, folder):
    account = factories.account("acme")
    product = make_product_secret(factories.product(), by=None)
    tickets = Ticket.objects.bulk_create(Ticket(account=account, subject=f"Ticket {n}") for n in range(TICKETS))
    who = [*clients(account)]
    lines = {"refresh": [], "check": [], "introspect": [], "select": [], "sandbox": []}
    for at, (family, number, salt) in enumerate(filling.issue([consent for consent, *_ in who], count)):
        _consent, client, secret = who[number]
        access = filling.bearer(family, salt)
        lines["refresh"].append(filling.refresh(client, secret, family, salt, at=at))
        lines["check"].append(line(f"Bearer {access}", "GET", "/oauth/check/freshservice"))
        lines["introspect"].append(line(basic("freshservice", product), "POST", "/oauth/introspect", {"token": access}))
        lines["select"].append(line("", "GET", f"/select?checksum={digest(access)}"))
        ticket = tickets[at % TICKETS].pk
        lines["sandbox"].append(line(f"Bearer {access}", "GET", f"/sandbox/api/v2/tickets/{ticket}"))
    lines["code"] = [*codes(who, min(count, CODES))]
    lines["client_credentials"] = [
        line(
            basic(client.client_id, secret), "POST", "/oauth/token",
            {"grant_type": "client_credentials", "account": account.slug},
        )
        for _consent, client, secret in who
        if client.level == Level.ACCOUNT
    ]  # fmt: skip
    filling.write(folder, database, lines)
    list_drawn(count)


main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
