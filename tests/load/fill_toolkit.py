"""Fill the toolkit's database likewise, with as many applications, and write what clients would send to files."""

import base64
import datetime as dt
import hashlib
import random
import secrets
import sys
from pathlib import Path
from urllib.parse import urlencode

import django

django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.utils import timezone  # noqa: E402
from oauth2_provider.models import AccessToken, Application, Grant, RefreshToken  # noqa: E402

CLIENTS = 200
REDIRECT_URI = "http://127.0.0.1:9999/callback"
VERIFIER = secrets.token_urlsafe(48)
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")


def basic(name, secret):
    return "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()


def main(database, count, folder):
    user = User.objects.create_user("ada")
    who = []
    for number in range(CLIENTS):
        secret = secrets.token_urlsafe(32)
        grants = (Application.GRANT_AUTHORIZATION_CODE, Application.GRANT_CLIENT_CREDENTIALS)
        application = Application.objects.create(
            name=f"Load {number}", user=user, client_type=Application.CLIENT_CONFIDENTIAL,
            authorization_grant_type=grants[number % 2], client_secret=secret, redirect_uris=REDIRECT_URI,
        )  # fmt: skip
        who.append((application, secret))
    lines = {"refresh": [], "code": [], "introspect": [], "client_credentials": []}
    expires = timezone.now() + dt.timedelta(days=9)
    for start in range(0, count, 10_000):
        accesses, refreshes = [], []
        for number in range(start, min(start + 10_000, count)):
            # Those with the grant that refreshes.
            application, secret = who[number * 2 % CLIENTS]
            access, refresh = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
            accesses.append(
                AccessToken(
                    user=user, application=application, token=access, expires=expires, scope="read write",
                    token_checksum=hashlib.sha256(access.encode()).hexdigest(),
                )
            )  # fmt: skip
            refreshes.append(RefreshToken(user=user, application=application, token=refresh))
            form = {"grant_type": "refresh_token", "refresh_token": refresh}
            form |= {"scope": "read"} if number // CLIENTS % 2 else {}
            header = basic(application.client_id, secret)
            lines["introspect"].append(f"{header}\tPOST\t/o/introspect/\ttoken={access}")
            if number // CLIENTS // 2 % 2:
                header, form = "", {**form, "client_id": application.client_id, "client_secret": secret}
            lines["refresh"].append(f"{header}\tPOST\t/o/token/\t{urlencode(form)}")
        made = AccessToken.objects.bulk_create(accesses)
        for access, refresh in zip(made, refreshes, strict=True):
            refresh.access_token = access
        RefreshToken.objects.bulk_create(refreshes)
    grants = []
    for number in range(count // 2):
        application, secret = who[number * 2 % CLIENTS]
        code = secrets.token_urlsafe(32)
        grants.append(
            Grant(
                user=user, application=application, code=code, expires=expires, redirect_uri=REDIRECT_URI, scope="read write",
                code_challenge=CHALLENGE, code_challenge_method="S256",
            )
        )  # fmt: skip
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "code_verifier": VERIFIER,
            "redirect_uri": REDIRECT_URI,
        }
        lines["code"].append(f"{basic(application.client_id, secret)}\tPOST\t/o/token/\t{urlencode(form)}")
    Grant.objects.bulk_create(grants, batch_size=10_000)
    for application, secret in who[1::2]:
        lines["client_credentials"].append(
            f"{basic(application.client_id, secret)}\tPOST\t/o/token/\tgrant_type=client_credentials"
        )
    for name, sent in lines.items():
        random.shuffle(sent)
        Path(folder, f"{database}-{name}.txt").write_text("\n".join(sent))


main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
