"""Fill the portal's database: 200 clients, by actions, and as many families and access tokens as asked for, by COPY.

Prints nothing; writes what clients would send to files, a line each (load.lua).
"""

import base64
import secrets
import sys
import uuid
from pathlib import Path
from urllib.parse import urlencode

import django

django.setup()

from django.db import connection  # noqa: E402

from consent.models import Consent  # noqa: E402
from credentials.actions import make_product_secret  # noqa: E402
from credentials.models import Kind, Level  # noqa: E402
from credentials.secrets import AUTHORIZATION_CODE, digest, generate, make_access_token, make_refresh_token  # noqa: E402
from marketplace.actions import installing  # noqa: E402
from tests import factories  # noqa: E402
from tests.oauth import pkce  # noqa: E402

CLIENTS = 200
VERIFIER, CHALLENGE = pkce()


def basic(name, secret):
    return "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()


def clients():
    """Yield a consent, its client and its secret, for clients of both kinds and levels in turn."""
    dev, account = factories.person("Dev"), factories.account("acme")
    admin, agent = factories.member(account, "admin", "Ada"), factories.member(account, "agent", "Axel")
    for number in range(CLIENTS):
        kind = (Kind.EXTERNAL, Kind.PLATFORM)[number // 2 % 2]
        level = (Level.ACCOUNT, Level.AGENT)[number % 2]
        client, secret = factories.client(dev, kind=kind, level=level, name=f"Load {number}")
        if kind == Kind.PLATFORM:
            version = factories.publish(
                factories.app(dev, client, optional_scopes=[factories.EDIT], install_url="https://app.example/"), dev
            )
            installing.install(version.app, account, by=admin)
        who = agent if level == Level.AGENT else admin
        yield factories.agree(client, account, who, chosen=[factories.EDIT]), client, secret


def main(count, folder):
    product = make_product_secret(factories.product(), by=None)
    who = [*clients()]
    families, tokens, lines = (
        [],
        [],
        {"refresh": [], "check": [], "introspect": [], "code": [], "client_credentials": [], "select": []},
    )
    for number in range(count):
        consent, client, secret = who[number % CLIENTS]
        family, salt, scope = uuid.uuid4(), secrets.token_bytes(32), " ".join(sorted(consent.granted))
        access = make_access_token(family, salt, 1)
        families.append((family, consent.pk, scope, salt))
        tokens.append((digest(access), consent.pk, family, scope))
        form = {"grant_type": "refresh_token", "refresh_token": make_refresh_token(family, salt, 1)}
        form |= {"scope": factories.VIEW} if number // CLIENTS % 2 else {}
        header = ""
        if number // CLIENTS // 2 % 2:
            form |= {"client_id": client.client_id, "client_secret": secret}
        else:
            header = basic(client.client_id, secret)
        lines["refresh"].append(f"{header}\tPOST\t/oauth/token\t{urlencode(form)}")
        lines["check"].append(f"Bearer {access}\tGET\t/oauth/check/freshservice\t")
        lines["introspect"].append(f"{basic('freshservice', product)}\tPOST\t/oauth/introspect\ttoken={access}")
        lines["select"].append(f"\tGET\t/select?checksum={digest(access)}\t")
    codes = []
    for number in range(count // 2):
        consent, client, secret = who[number % CLIENTS]
        code = generate(AUTHORIZATION_CODE)
        codes.append((digest(code), consent.pk, " ".join(sorted(consent.granted))))
        form = {"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER}
        form |= {"redirect_uri": factories.REDIRECT_URI}
        lines["code"].append(f"{basic(client.client_id, secret)}\tPOST\t/oauth/token\t{urlencode(form)}")
    for consent, client, secret in who:
        if client.level == Level.ACCOUNT:
            form = {"grant_type": "client_credentials", "account": consent.access.account.slug}
            lines["client_credentials"].append(
                f"{basic(client.client_id, secret)}\tPOST\t/oauth/token\t{urlencode(form)}"
            )
    with connection.cursor() as cursor:
        with cursor.copy(
            "COPY consent_refreshtoken (id, consent_id, scope, salt, generation, reason) FROM STDIN"
        ) as rows:
            for row in families:
                rows.write_row((*row, 1, ""))
        cursor.execute("SELECT statement_timestamp() + interval '1 day'")
        expires = cursor.fetchone()[0]
        with cursor.copy(
            "COPY consent_accesstoken (token_checksum, consent_id, family_id, scope, expires) FROM STDIN"
        ) as rows:
            for row in tokens:
                rows.write_row((*row, expires))
        columns = "code, consent_id, scope, expires, redirect_uri, code_challenge, code_challenge_method"
        with cursor.copy(f"COPY consent_authorizationcode ({columns}) FROM STDIN") as rows:
            for row in codes:
                rows.write_row((*row, expires, factories.REDIRECT_URI, CHALLENGE, "S256"))
        cursor.execute("VACUUM ANALYZE")
    assert Consent.objects.count() == CLIENTS
    for name, sent in lines.items():
        Path(folder, f"portal-{name}.txt").write_text("\n".join(sent))


main(int(sys.argv[1]), sys.argv[2])
