"""Revocation and introspection at their edges (RFC 7009 section 2, RFC 7662 section 2)."""

from urllib.parse import urlencode

import pytest

from credentials.actions import make_product_secret
from credentials.models import Product, ProductSecret
from credentials.registry import import_document
from tests import factories
from tests.factories import EDIT, VIEW
from tests.oauth import basic
from tests.protocol.asking import each, nothing_changed, refused
from tests.worlds import shared

pytestmark = pytest.mark.django_db

HINTS = [None, "access_token", "refresh_token", "authorization_code", "made_up", "", "é"]


def hinted(token, hint):
    return urlencode({"token": token, **({} if hint is None else {"token_type_hint": hint})})


@shared
def auth(external):
    return basic(external.client.client_id, external.secret)


# --- revocation ---


@each("hint", HINTS)
@each("kind", ["access_token", "refresh_token"])
def test_a_hint_decides_nothing(send, external, ada, cast, auth, kind, hint):
    """RFC 7009 section 2.1: a wrong, unknown or empty hint finds the same token."""
    tokens = external.tokens_for(ada, account=cast.acme.slug)
    assert send("revoke", hinted(tokens[kind], hint), **auth).status_code == 200
    assert external.call(tokens["access_token"]).status_code == 401
    assert external.refresh(tokens["refresh_token"]).status_code == (200 if kind == "access_token" else 400)


def made_up(tokens):
    """Tokens that are none, some of them nearly."""
    return [
        "x", "amp_at_", "amp_rt_", "é", "amp_at_" + "x" * 4000, tokens["access_token"][:-1], tokens["refresh_token"].upper(),
        tokens["access_token"].replace("_at_", "_rt_"), tokens["refresh_token"].replace("_rt_", "_at_"), f" {tokens['access_token']}",
    ]  # fmt: skip


def test_an_unknown_token_is_a_200_that_changes_nothing(send, external, tokens, auth):
    """RFC 7009 section 2.2"""
    with nothing_changed():
        for token in [*made_up(tokens), external.secret]:
            response = send("revoke", hinted(token, None), **auth)
            assert response.status_code == 200 and response["Cache-Control"] == "no-store"


@each("kind", ["access_token", "refresh_token"])
def test_another_clients_token_is_untouched_and_answered_like_one_that_is_none(other, external, tokens, kind):
    """RFC 7009 sections 2.1 and 2.2: it is invalid for this client, who does not learn by the answer whether it is good."""
    with nothing_changed():
        theirs, none = other.revoke(tokens[kind]), other.revoke("x")
    assert theirs.status_code == none.status_code == 200 and theirs.content == none.content == b""
    assert theirs.headers == none.headers
    assert external.call(tokens["access_token"]).status_code == 200
    assert external.refresh(tokens["refresh_token"]).status_code == 200


def test_who_does_not_prove_itself_revokes_nothing(send, external, tokens, other, product_secret):
    """RFC 7009 sections 2.1 and 2.2.1"""
    client_id, body = external.client.client_id, {"token": tokens["refresh_token"]}
    with nothing_changed():
        refused(send("revoke", urlencode(body)), "invalid_client", 401)
        refused(send("revoke", urlencode({**body, "client_id": client_id})), "invalid_client", 401)
        refused(send("revoke", urlencode(body), **basic(client_id, other.secret)), "invalid_client", 401)
        refused(send("revoke", urlencode(body), **basic("freshservice", product_secret)), "invalid_client", 401)


@each("body", ["", "token=", "token=a&token=b", "token=%00", "token=" + "x" * 4097, "token[]=x", "TOKEN=x"])
def test_a_revocation_without_one_token_is_an_invalid_request(send, tokens, auth, body):
    """RFC 7009 sections 2.1 and 2.2.1"""
    with nothing_changed():
        refused(send("revoke", body, **auth), "invalid_request")


def test_revoking_twice_is_the_same_200_and_tells_once(send, tokens, auth):
    """RFC 7009 section 2.2"""
    for kind in ("access_token", "refresh_token"):
        assert send("revoke", hinted(tokens[kind], None), **auth).status_code == 200
        with nothing_changed():
            assert send("revoke", hinted(tokens[kind], None), **auth).status_code == 200


def test_the_generation_before_ends_the_family_too_and_consent_stays(send, external, tokens, auth, cast):
    """RFC 7009 section 2.1, T6: whichever genuine token of the family comes back."""
    new = external.refresh(tokens["refresh_token"]).json()
    assert send("revoke", hinted(tokens["refresh_token"], "access_token"), **auth).status_code == 200
    refused(external.refresh(new["refresh_token"]), "invalid_grant")
    assert external.call(new["access_token"]).status_code == 401
    assert external.client_credentials(cast.acme.slug).status_code == 200


# --- introspection ---


def ask(send, secret, token, hint=None, slug="freshservice"):
    response = send("introspect", hinted(token, hint), **basic(slug, secret))
    assert response.status_code == 200 and response["Content-Type"] == "application/json"
    assert response["Cache-Control"] == "no-store"
    return response.json()


@each("hint", HINTS)
def test_a_hint_makes_no_token_active_or_inactive(send, product_secret, tokens, hint):
    """RFC 7662 section 2.1; a refresh token is nothing that a product could be sent (RFC 6749 section 1.5)."""
    assert ask(send, product_secret, tokens["access_token"], hint)["scope"] == f"{EDIT} {VIEW}"
    assert ask(send, product_secret, tokens["refresh_token"], hint) == {"active": False}


def test_of_a_token_that_is_none_nothing_is_told_but_that(send, product_secret, tokens, external):
    """RFC 7662 sections 2.2 and 4: whoever guesses learns nothing."""
    code = "amp_ac_" + "x" * 49
    for token in [*made_up(tokens), code, product_secret, external.secret]:
        assert ask(send, product_secret, token) == {"active": False}


def test_the_wrong_party_is_refused_and_told_nothing_of_the_token(send, tokens, external, product_secret):
    """RFC 7662 sections 2.1 and 2.3: a client, the token itself, nobody; a product without its own secret."""
    later = Product.objects.create(slug="crm", name="CRM")
    foreign = make_product_secret(later, by=None)
    bearer = {"HTTP_AUTHORIZATION": f"Bearer {tokens['access_token']}"}
    body = {"token": tokens["access_token"]}
    in_body = {**body, "client_id": "freshservice", "client_secret": product_secret}
    wrong = [
        {}, bearer, basic(external.client.client_id, external.secret), basic("freshservice", foreign), basic("crm", product_secret),
        basic("freshservice", external.secret), basic("freshservice", ""), basic("", product_secret), basic("Freshservice", product_secret),
        basic("freshservice\0", product_secret), basic("freshservice", product_secret + " "),
    ]  # fmt: skip
    with nothing_changed():
        texts = {refused(send("introspect", urlencode(body), **headers), "invalid_client", 401) for headers in wrong}
        texts.add(refused(send("introspect", urlencode(in_body)), "invalid_client", 401))
    assert len(texts) == 1


def test_a_token_of_an_account_has_no_subject_that_could_be_taken_for_a_persons(
    send, tokens, external, cast, product_secret
):
    """RFC 9700 section 4.15: neither the client's id, which its developer might have chosen, nor the admin's."""
    for got in (tokens, external.client_credentials(cast.acme.slug).json()):
        told = ask(send, product_secret, got["access_token"])
        assert told["active"] and not {"sub", "username", "agent", "installation"} & told.keys()
        assert told["client_id"] == external.client.client_id and told["account"] == cast.acme.slug


def test_another_product_learns_none_of_the_scopes_that_are_not_its_own(send, tokens):
    """RFC 7662 section 2.2 and 5"""
    later = Product.objects.create(slug="crm", name="CRM")
    document = {"paths": {}, "components": {"securitySchemes": {}}}
    import_document(later, document)
    answer = ask(send, make_product_secret(later, by=None), tokens["access_token"], slug="crm")
    assert answer["active"] and answer["scope"] == ""


@each("body", ["", "token=", "token=a&token=b", "token=%00", "token=" + "x" * 4097, "token[]=x", "a=" * 99])
def test_an_introspection_without_one_token_is_an_invalid_request(send, product_secret, body):
    """RFC 7662 section 2.1"""
    refused(send("introspect", body, **basic("freshservice", product_secret)), "invalid_request")


def test_a_products_secret_may_be_form_encoded_like_a_clients(send, tokens, product_secret):
    """RFC 6749 section 2.3.1, as RFC 7662 section 2.1 has it"""
    encoded = "".join(f"%{ord(character):02X}" for character in product_secret)
    assert ask(send, encoded, tokens["access_token"])["active"]
    assert ProductSecret.objects.get().last_used_at
    assert factories.product().slug == "freshservice"
