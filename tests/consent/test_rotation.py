"""T6, over real connections to real server processes: however many ask at once, and whatever reply is lost."""

import datetime as dt
import socket
from urllib.parse import urlencode

import pytest

from consent.models import AccessToken, RefreshToken
from credentials.secrets import digest
from portal.ledger.models import Entry
from tests import factories
from tests.clock import advance
from tests.oauth import basic
from tests.servers import Http, together

ROUNDS = [pytest.param(100, id="100"), pytest.param(1000, id="1000", marks=pytest.mark.soak)]


class Holder:
    """An app that holds a family's tokens, and asks one of two server processes, or both."""

    def __init__(self, side, servers, tokens):
        self.side, self.servers, self.tokens = side, servers, tokens
        self.auth = (side.client.client_id, side.secret)
        self.http = [Http(server.port) for server in servers]

    def refresh(self, token, http=None, auth=None):
        form = {"grant_type": "refresh_token", "refresh_token": token}
        return (http or self.http[0]).post("/oauth/token", form, auth or self.auth)

    def family(self):
        return RefreshToken.objects.get()


@pytest.fixture
def holder(external, cast, browse, servers):
    return Holder(external, servers, external.tokens_for(browse(cast.admin), account=cast.acme.slug))


@pytest.mark.parametrize("rounds", ROUNDS)
def test_eight_refreshes_at_once_give_one_successor_pair_every_time(holder, servers, rounds):
    ways = [Http(servers[number % 2].port) for number in range(8)]
    token = holder.tokens["refresh_token"]
    for _round in range(rounds):
        answers = together(*(lambda way=way, token=token: holder.refresh(token, way) for way in ways))
        assert {answer.status for answer in answers} == {200}, answers
        pairs = {(answer.json()["access_token"], answer.json()["refresh_token"]) for answer in answers}
        assert len(pairs) == 1
        token = pairs.pop()[1]
    assert holder.family().generation == rounds + 1
    assert AccessToken.objects.count() == rounds + 1, "one for each generation"


def test_a_reply_lost_after_the_commit_is_given_again_by_any_process(holder, servers):
    """The connection is cut before the answer is read; the row shows that it was committed."""
    body = urlencode({"grant_type": "refresh_token", "refresh_token": holder.tokens["refresh_token"]}).encode()
    with socket.create_connection(("127.0.0.1", servers[0].port)) as cut:
        cut.sendall(
            b"POST /oauth/token HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            + f"Authorization: {basic(*holder.auth)['HTTP_AUTHORIZATION']}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        # Something of the answer is there, and is thrown away.
        assert cut.recv(1)
    assert holder.family().generation == 2
    advance(dt.timedelta(seconds=20))
    again = [holder.refresh(holder.tokens["refresh_token"], http).json() for http in holder.http]
    assert again[0]["refresh_token"] == again[1]["refresh_token"]
    assert AccessToken.objects.filter(token_checksum=digest(again[0]["access_token"])).exists()
    assert AccessToken.objects.count() == 2
    assert 1770 <= again[0]["expires_in"] <= 1780, "counted down from 1800"
    assert holder.refresh(again[0]["refresh_token"]).status == 200


def reuse(holder, token, **more):
    answer = holder.refresh(token, **more)
    assert (answer.status, answer.json()["error"]) == (400, "invalid_grant"), answer
    return answer.json()["error_description"]


def entries():
    return Entry.objects.filter(event="family.reuse_detected")


@pytest.mark.parametrize("generations", [1, 2, 3])
def test_a_token_superseded_over_a_minute_ago_ends_its_family_and_no_other(holder, cast, browse, generations):
    """One behind, two behind and three: the family and its access tokens end; another of the same consent lives."""
    other = holder.side.tokens_for(browse(cast.admin), account=cast.acme.slug)
    first, tokens = holder.tokens["refresh_token"], [holder.tokens]
    for _generation in range(generations):
        tokens.append(holder.refresh(tokens[-1]["refresh_token"]).json())
    advance(dt.timedelta(seconds=61))
    assert "ended" in reuse(holder, first)
    for http in holder.http:
        assert {http.call(each["access_token"]).status for each in tokens} == {401}
        reuse(holder, tokens[-1]["refresh_token"], http=http)
    assert entries().count() == 1
    assert entries().get().chain_id == cast.acme.chain_name
    assert holder.http[0].call(other["access_token"]).status == 200
    assert holder.refresh(other["refresh_token"]).status == 200


def test_two_behind_within_a_minute_is_refused_and_three_behind_is_reuse(holder):
    first, tokens = holder.tokens["refresh_token"], [holder.tokens]
    for _generation in range(2):
        tokens.append(holder.refresh(tokens[-1]["refresh_token"]).json())
    reuse(holder, first)
    assert holder.family().ended_at is None and not entries().exists()
    assert holder.http[0].call(tokens[-1]["access_token"]).status == 200
    holder.refresh(tokens[-1]["refresh_token"])
    reuse(holder, first)
    assert holder.family().ended_at and entries().count() == 1


def test_the_exact_second_at_which_a_replay_becomes_reuse(holder):
    first = holder.tokens["refresh_token"]
    assert holder.refresh(first).status == 200
    advance(dt.timedelta(seconds=57))
    assert holder.refresh(first).status == 200, "within 60 seconds"
    advance(dt.timedelta(seconds=3))
    reuse(holder, first)
    assert holder.family().ended_at


def test_a_made_up_token_and_another_clients_change_nothing(holder, cast, client, browse):
    family = holder.family()
    before = RefreshToken.objects.values().get()
    real = holder.tokens["refresh_token"]
    made_up = [
        real[:-1] + ("A" if real[-1] != "A" else "B"),
        real.swapcase(),
        f"amp_rt_{family.pk.hex}",
        real.replace("amp_rt_", "amp_at_"),
        real + "A",
        "amp_rt_",
    ]
    for token in made_up:
        reuse(holder, token)
    row, secret = factories.client(cast.other_dev, kind="external")
    reuse(holder, real, auth=(row.client_id, secret))
    old = holder.refresh(real)
    assert old.status == 200
    advance(dt.timedelta(minutes=5))
    reuse(holder, real, auth=(row.client_id, secret))
    after = RefreshToken.objects.values().get()
    assert after["ended_at"] is None and after["generation"] == before["generation"] + 1
    assert not entries().exists()
    assert holder.refresh(old.json()["refresh_token"]).status == 200
