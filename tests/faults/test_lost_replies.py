"""A server is killed after its commit and before its reply (T3, T6)."""

import datetime as dt

import pytest

from consent.actions import ending
from consent.models import Access, AccessToken, RefreshToken
from portal.demo import embedded
from tests.clock import advance, eventually, eventually_swept
from tests.faults.harm import cut_off, held, somebody_waits, visitor
from tests.servers import Http, Server

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_server_killed_between_commit_and_reply_of_a_refresh_is_asked_again(external, cast, browse):
    """T6"""
    first = external.tokens_for(browse(cast.admin), account=cast.acme.slug)["refresh_token"]
    # So that noting the secret's use, which comes after the commit, is due, and waits below.
    advance(dt.timedelta(minutes=2))
    auth = (external.client.client_id, external.secret)
    form = {"grant_type": "refresh_token", "refresh_token": first}
    doomed, other = Server(), Server()
    try:
        http = Http(doomed.wait().port)
        with (
            held("SELECT 1 FROM credentials_clientsecret FOR UPDATE"),
            cut_off(lambda: http.post("/oauth/token", form, auth)),
        ):
            eventually(lambda: RefreshToken.objects.get().generation == 2 and somebody_waits())
            doomed.stop()
        again = Http(other.wait().port)
        answer = again.post("/oauth/token", form, auth)
        assert answer.status == 200 and AccessToken.objects.count() == 2 and RefreshToken.objects.get().generation == 2
        assert again.call(answer.json()["access_token"]).status == 200
        form["refresh_token"] = answer.json()["refresh_token"]
        assert again.post("/oauth/token", form, auth).status == 200
    finally:
        doomed.stop()
        other.stop()


def test_a_server_killed_between_commit_and_reply_of_an_uninstall_has_ended_all(used, cast, browse, tmp_path, request):
    """T3: it never told Celery; the sweep finds what is left to do."""
    valkey, url = embedded._start_valkey(tmp_path)
    doomed = Server("tests.mute_wsgi:application", REDIS_URL=url).wait()
    try:
        ada = visitor(doomed, browse(cast.admin))
        page = ada.open(f"/installations/{used.installation.pk}/uninstall/")
        valkey.kill()
        with cut_off(lambda: ada.submit(page)):
            eventually(lambda: Access.objects.get().ended_at)
            doomed.stop()
    finally:
        doomed.stop()
        valkey.kill()
        valkey.wait(180)
    assert used.call(used.tokens["access_token"]).status_code == 401
    assert [access.pk for access in ending.access_to_revoke()] == [Access.objects.get().pk]
    request.getfixturevalue("worker")
    eventually_swept(lambda: Access.objects.get().revoked_at)
    assert Access.objects.get().revoked_counts == {"refresh_tokens": 2, "access_tokens": 3}
