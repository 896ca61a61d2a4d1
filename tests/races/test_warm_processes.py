"""T2: two server processes that have served a token repeatedly refuse it from the commit that ends it."""

import pytest

from credentials.actions import make_product_secret
from credentials.models import Product
from tests.races import acts
from tests.races.pairs import AGENT_ENDING, ENDING
from tests.servers import Http

ENDINGS = {
    **{("account", how): end for how, end in ENDING.items()},
    **{("agent", how): end for how, end in AGENT_ENDING.items()},
    ("account", "giving the family back"): acts.give_back,
    ("account", "a code used again"): acts.replay,
    ("external", "the access's end"): acts.end_external("admin2"),
}


class Asker:
    """Uses an app's tokens in every way at one process. `old` is the refresh token before the current one."""

    def __init__(self, server, side, product, old, token):
        self.http, self.auth, self.product = Http(server.port), (side.client.client_id, side.secret), product
        self.old, self.token = old, token

    def gateway(self):
        headers = {"X-Original-Method": "GET", "X-Original-URI": "/api/v2/tickets"}
        answer = self.http.get("/oauth/check/freshservice", Authorization=f"Bearer {self.token}", **headers)
        return {200: True, 401: False}[answer.status]

    def introspection(self):
        answer = self.http.post("/oauth/introspect", {"token": self.token}, ("freshservice", self.product))
        return answer.json()["active"]

    def in_process(self):
        return {200: True, 401: False}[self.http.call(self.token).status]

    def replay(self):
        form = {"grant_type": "refresh_token", "refresh_token": self.old}
        return {200: True, 400: False, 401: False}[self.http.post("/oauth/token", form, self.auth).status]

    def accepted(self):
        return [self.gateway(), self.introspection(), self.in_process(), self.replay()]


@pytest.mark.parametrize("name", ENDINGS, ids=" ".join)
def test_no_warm_process_accepts_what_ended(served, servers, name):
    world, end = served.reset(), ENDINGS[name]
    product = make_product_secret(Product.objects.get(), by=None)
    side, old = world.sides[name[0]], world.tokens[name[0]]["refresh_token"]
    answer = world.app_side(name[0]).refresh(old)
    askers = [Asker(server, side, product, old, answer.json()["access_token"]) for server in servers]
    for _time in range(2):
        assert [asker.accepted() for asker in askers] == [[True] * 4] * 2
    end(world)
    assert [asker.accepted() for asker in askers] == [[False] * 4] * 2
