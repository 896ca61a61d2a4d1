"""T6, over real connections to real server processes, with simultaneous requests and lost replies."""

import datetime as dt
import socket
import uuid
from dataclasses import replace
from urllib.parse import urlencode

import pytest

from consent.models import AccessToken, RefreshToken
from consent.reasons import FamilyEnd
from credentials.secrets import REFRESH_TOKEN, _mac, _with_form, digest, make_refresh_token, read_refresh_token
from portal.ledger.models import Entry
from tests import factories
from tests.clock import advance
from tests.oauth import basic
from tests.rows import changed, contents
from tests.servers import Http, together

ROUNDS = [pytest.param(10, id="10"), pytest.param(1000, id="1000", marks=pytest.mark.soak)]


class Holder:
    """An app that holds a family's tokens and sends requests to one or both of two server processes."""

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


def test_a_reply_lost_after_the_commit_can_be_had_again_from_any_process(holder, servers):
    """The connection is cut before the answer is read; the row shows that the refresh was committed."""
    body = urlencode({"grant_type": "refresh_token", "refresh_token": holder.tokens["refresh_token"]}).encode()
    with socket.create_connection(("127.0.0.1", servers[0].port)) as cut:
        cut.sendall(
            b"POST /oauth/token HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            + f"Authorization: {basic(*holder.auth)['HTTP_AUTHORIZATION']}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        # Part of the answer has arrived, and is thrown away.
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


def reuse_entries():
    return Entry.objects.filter(event="family.reuse_detected")


@pytest.mark.parametrize("generations", [1, 2, 3])
def test_a_token_superseded_over_a_minute_ago_ends_its_family_and_no_other(holder, cast, browse, generations):
    """One, two or three generations behind: the family and its access tokens end; another family of the consent lives on."""
    other = holder.side.tokens_for(browse(cast.admin), account=cast.acme.slug)
    first, tokens = holder.tokens["refresh_token"], [holder.tokens]
    for _generation in range(generations):
        tokens.append(holder.refresh(tokens[-1]["refresh_token"]).json())
    advance(dt.timedelta(seconds=61))
    assert "ended" in reuse(holder, first)
    for http in holder.http:
        assert {http.call(each["access_token"]).status for each in tokens} == {401}
        reuse(holder, tokens[-1]["refresh_token"], http=http)
    assert reuse_entries().count() == 1
    assert reuse_entries().get().chain_id == cast.acme.chain_name
    assert holder.http[0].call(other["access_token"]).status == 200
    assert holder.refresh(other["refresh_token"]).status == 200


def test_two_generations_behind_within_a_minute_is_refused_and_three_is_reuse(holder):
    first, tokens = holder.tokens["refresh_token"], [holder.tokens]
    for _generation in range(2):
        tokens.append(holder.refresh(tokens[-1]["refresh_token"]).json())
    reuse(holder, first)
    assert holder.family().ended_at is None and not reuse_entries().exists()
    assert holder.http[0].call(tokens[-1]["access_token"]).status == 200
    holder.refresh(tokens[-1]["refresh_token"])
    reuse(holder, first)
    assert holder.family().ended_at and reuse_entries().count() == 1


def test_the_exact_second_at_which_a_replay_becomes_reuse(holder):
    first = holder.tokens["refresh_token"]
    assert holder.refresh(first).status == 200
    advance(dt.timedelta(seconds=57))
    assert holder.refresh(first).status == 200, "within 60 seconds"
    advance(dt.timedelta(seconds=3))
    reuse(holder, first)
    assert holder.family().ended_at


def test_a_made_up_token_and_another_clients_token_change_nothing(holder, cast, client, browse):
    family, real = holder.family(), holder.tokens["refresh_token"]
    row, secret = factories.client(cast.other_dev, kind="external")
    other = (row.client_id, secret)
    made_up = [
        real[:-1] + ("A" if real[-1] != "A" else "B"),
        real.swapcase(),
        f"amp_rt_{family.pk.hex}",
        real.replace("amp_rt_", "amp_at_"),
        real + "A",
        "amp_rt_",
    ]
    # The first requests record that both secrets were used.
    for auth in (None, other):
        reuse(holder, "amp_rt_", auth=auth)
    before = contents()
    for token in made_up:
        reuse(holder, token)
    reuse(holder, real, auth=other)
    assert changed(before) == {}
    new = holder.refresh(real).json()["refresh_token"]
    advance(dt.timedelta(seconds=59))
    before = contents()
    # Its own client would get the successor within this minute, and cause reuse after it.
    for token in (real, new):
        reuse(holder, token, auth=other)
    assert changed(before) == {}
    advance(dt.timedelta(minutes=5))
    reuse(holder, "amp_rt_")
    reuse(holder, "amp_rt_", auth=other)
    before = contents()
    for token in (real, new):
        reuse(holder, token, auth=other)
    assert changed(before) == {} and not reuse_entries().exists()
    assert holder.refresh(new).status == 200


def test_a_made_up_token_that_names_a_real_family_changes_nothing(holder, settings):
    """Form, checksum, family, generation and key id are all correct; only the MAC is wrong."""
    family, key = holder.family(), settings.TOKEN_KEYS[0]
    salt, real = bytes(family.salt), holder.tokens["refresh_token"]
    new = holder.refresh(real).json()["refresh_token"]
    advance(dt.timedelta(minutes=5))
    parts, latest = read_refresh_token(real), read_refresh_token(new)
    forged = {
        "made with another key": make_refresh_token(family.pk, salt, 1, "another key"),
        "made with another salt": make_refresh_token(family.pk, b"x" * 32, 1, key),
        "made without one": make_refresh_token(family.pk, b"", 2, key),
        "its id of another key": make_token(parts, key_id=b"xxxx"),
        "a MAC of zeros": make_token(parts, mac=bytes(32)),
        "the access token's MAC": make_token(parts, mac=_mac(key, salt, family.pk, 1, b"access")),
        "another generation's MAC": make_token(latest, mac=parts.mac),
        "the current one's, said to be the first": make_token(parts, mac=latest.mac),
        "a generation that is yet to come": make_token(latest, generation=3),
        "far off": make_token(latest, generation=2**63 - 1),
        "another family's": make_token(parts, family=uuid.uuid4()),
    }
    reuse(holder, "amp_rt_")
    before = contents()
    for how, token in forged.items():
        assert read_refresh_token(token), f"{how}: is well formed"
        for http in holder.http:
            assert "unknown" in reuse(holder, token, http=http), how
        assert holder.http[0].post("/oauth/revoke", {"token": token}, holder.auth).status == 200, how
    assert changed(before) == {}
    assert holder.refresh(new).status == 200


def make_token(parts, **changed):
    """Return a refresh token in the server's form, made of the given parts."""
    parts = replace(parts, **changed)
    return _with_form(
        REFRESH_TOKEN, parts.family.bytes + parts.generation.to_bytes(8, "big") + parts.key_id + parts.mac
    )


def test_a_reply_lost_while_the_keys_change_can_be_had_again(external, cast, browse, settings):
    """The pair is derived with the key that made it, as long as the server has that key."""
    old = external.tokens_for(browse(cast.admin), account=cast.acme.slug)["refresh_token"]
    lost, made = external.refresh(old).json(), settings.TOKEN_KEYS
    settings.TOKEN_KEYS = ["a new key", *made]
    again = external.refresh(old).json()
    assert (again["access_token"], again["refresh_token"]) == (lost["access_token"], lost["refresh_token"])
    new = external.refresh(again["refresh_token"]).json()["refresh_token"]
    settings.TOKEN_KEYS = ["a new key"]
    assert external.refresh(new).status_code == 200, "the family goes on with the new key"
    assert external.refresh(old).json()["error"] == "invalid_grant"
    assert RefreshToken.objects.get().ended_at is None, "a token of an unknown key proves no reuse"


def test_eight_reuses_at_once_end_the_family_once(holder, servers, cast):
    first = holder.tokens["refresh_token"]
    new = holder.refresh(first).json()
    advance(dt.timedelta(minutes=2))
    ways = [Http(servers[number % 2].port) for number in range(8)]
    answers = together(*(lambda way=way: holder.refresh(first, way) for way in ways))
    assert [(answer.status, answer.json()["error"]) for answer in answers] == [(400, "invalid_grant")] * 8
    entry, family = reuse_entries().get(), holder.family()
    assert entry.subject == f"family:{family.pk}" and entry.details["reason"] == family.reason == FamilyEnd.REUSED
    assert entry.chain_id == cast.acme.chain_name and entry.actor == f"client:{holder.auth[0]}"
    assert {http.call(new["access_token"]).status for http in holder.http} == {401}
