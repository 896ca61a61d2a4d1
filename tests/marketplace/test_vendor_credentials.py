"""An admin's credentials at a vendor go only to that vendor, until its last connection is over."""

import json
from copy import deepcopy

import pytest

from marketplace import tasks
from marketplace.actions import installing, publishing
from marketplace.models import Connection
from marketplace.package.archive import OAUTH
from marketplace.vendors import actions as connecting
from marketplace.vendors import oauth_client
from tests import factories
from tests.marketplace.connected import connect, row, start_connecting, url_of
from tests.marketplace.test_vendor_answers import CREDENTIALS
from tests.marketplace.versions import upgrade
from tests.peer import Peer, said
from tests.people.forms import text
from tests.vendors import CLIENT_ID, SECRET

pytestmark = pytest.mark.django_db


def fill_in(ada, multi, secret=SECRET):
    values = {"value-owner": "x", "value-boards.id": CLIENT_ID, "value-boards.secret": secret}
    assert ada.post(f"/installations/{multi.installation.pk}/settings/", values).status_code == 302


def install_and_connect(multi_of, browse, cast, ada, **changes):
    multi = multi_of(boards={**CREDENTIALS, **changes})
    fill_in(ada, multi)
    assert "is connected" in connect(browse(cast.agent), multi, "boards", **{"value-board": "7"})
    return multi


def test_tokens_of_an_uninstalled_app_are_revoked_with_the_admins_credentials(multi_of, browse, cast, ada, vendors):
    multi = install_and_connect(multi_of, browse, cast, ada)
    installing.uninstall(multi.installation, by=cast.admin)
    [over] = Connection.objects.over()
    tasks.revoke_connection(str(over.pk))
    assert not vendors[1].tokens()
    multi.installation.refresh_from_db()
    assert multi.installation.values == {}, "nothing is stored once the vendor was told"


def test_the_previous_versions_vendor_is_not_sent_the_next_ones_secret(multi_of, browse, cast, ada, vendors):
    """The same name may lead to another vendor in the next version, for which the admin fills in another secret."""
    calendar, boards = vendors
    multi = install_and_connect(multi_of, browse, cast, ada)
    files = deepcopy(multi.version.package)
    files[OAUTH]["integrations"]["boards"] |= {
        "authorize_url": f"{calendar.url}/authorize",
        "token_url": f"{calendar.url}/token",
    }
    version = publishing.create_version(multi.app, by=cast.dev, **factories.version_fields("1.1", required_scopes=[]))
    version = publishing.change_version(version, by=cast.dev, package=files)
    version = publishing.publish_custom(version, accounts={cast.acme.slug}, by=cast.dev)
    multi.installation = upgrade(multi.installation, version, cast.admin)
    assert "boards.secret" not in multi.installation.values
    fill_in(ada, multi, "of-the-other-vendor")
    [over] = Connection.objects.over()
    tasks.revoke_connection(str(over.pk))
    assert "of-the-other-vendor" not in json.dumps(boards.log("/revoke"))
    assert not boards.tokens()


def test_nobody_who_connects_can_have_the_secret_sent_to_an_issuer_of_their_choice(
    multi_of, browse, cast, ada, vendors
):
    boards = vendors[1]

    def answer(_request, _connection):
        metadata = {
            "issuer": thief.url,
            "token_endpoint": f"{boards.url}/token",
            "revocation_endpoint": f"{thief.url}/revoke",
        }
        return said(200, json.dumps(metadata).encode(), Content_Type="application/json")

    thief = Peer(answer)
    issuer = "http://127.0.0.1:<%= oauth_iparams.board %>"
    multi = multi_of(boards={**CREDENTIALS, "options": {"scope": "read", "issuer": issuer}})
    fill_in(ada, multi)
    boards.switch(iss="none")
    assert "is connected" in connect(browse(cast.agent), multi, "boards", **{"value-board": str(thief.port)})
    assert thief.requests, "its metadata is read"
    connection = row("boards")
    assert connection.revocation_url == f"{boards.url}/revoke"
    connecting.disconnect(connection, by=cast.agent)
    tasks.revoke_connection(str(connection.pk))
    assert all(request.startswith(b"GET /.well-known/") for request in thief.requests)


def test_an_unresponsive_issuer_holds_nobody_up(multi_of, ada, calendar, monkeypatch):
    """Its metadata may be at eight URLs; the time limit covers all of them."""
    slow = Peer(lambda _request, _connection: slow.over.wait(180) and b"")
    monkeypatch.setattr(oauth_client, "LOOK_UP_SECONDS", 0.2)
    multi = multi_of(options={"scope": "read", "issuer": f"{slow.url}/realms/acme"})
    calendar.switch(iss="none")
    assert "is connected" in connect(ada, multi, "calendar")
    slow.over.set()
    assert len(slow.requests) == 1 and row().revocation_url == ""


def test_a_setting_cannot_lead_to_another_path_of_the_vendors(multi_of, ada, calendar):
    multi = multi_of(token_url=f"{calendar.url}/<%= oauth_iparams.room %>/token")
    for value in (".", ".."):
        assert "“.” or “..” cannot be a path segment of the vendor’s address." in connect(
            ada, multi, "calendar", **{"value-room": value}
        )
    assert not calendar.log("/token") and not Connection.objects.exclude(connected_at=None).exists()


def test_nobody_is_sent_to_another_path_of_the_vendors(multi_of, ada, calendar):
    multi = multi_of(authorize_url=f"{calendar.url}/<%= oauth_iparams.room %>/authorize")
    for value in (".", ".."):
        answer = ada.post(url_of(multi, "calendar"), {"value-room": value})
        assert answer.status_code == 422 and "“.” or “..” cannot be a path segment of the vendor’s address." in text(
            answer
        )
    assert "a..b" in start_connecting(ada, multi, "calendar", **{"value-room": "a..b"})
