"""The token endpoint at its edges: who asks, in what form, and how (RFC 6749 sections 2.3, 3.2, 5; RFC 9700 section 4)."""

import base64
import json
from urllib.parse import quote, urlencode

import pytest

from consent.models import AccessToken, RefreshToken
from credentials.models import Kind
from tests import factories
from tests.factories import EDIT, REDIRECT_URI, VIEW
from tests.oauth import AppSide, agree, answer, authorize_url, basic, pkce
from tests.protocol.asking import FORM, each, nothing_changed, refused
from tests.worlds import shared

pytestmark = pytest.mark.django_db


def header(raw):
    return {"HTTP_AUTHORIZATION": "Basic " + base64.b64encode(raw).decode()}


@shared
def auth(external):
    return basic(external.client.client_id, external.secret)


@shared
def form(tokens):
    return {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}


# --- who asks ---


def test_two_clients_in_one_request_are_refused_whichever_is_real(send, form, auth, other):
    """RFC 6749 section 2.3: one identity, proved in one way."""
    named = urlencode({**form, "client_id": other.client.client_id})
    proved = urlencode({**form, "client_id": other.client.client_id, "client_secret": other.secret})
    with nothing_changed():
        for body in (named, proved):
            refused(send("token", body, **auth), "invalid_request")
            refused(send("revoke", body + f"&token={form['refresh_token']}", **auth), "invalid_request")


def test_a_body_that_names_the_client_of_the_header_again_is_no_second_way(send, form, auth, external):
    """RFC 6749 sections 2.3.1 and 4.1.3: the client id alone proves nothing."""
    assert send("token", urlencode({**form, "client_id": external.client.client_id}), **auth).status_code == 200


def test_a_client_id_alone_is_no_authentication(send, form, external):
    """RFC 6749 section 3.2.1: every client of this server is confidential."""
    named = {**form, "client_id": external.client.client_id}
    for body in (named, {**named, "client_secret": ""}, {**named, "client_secret": "amp_cs_wrong"}):
        refused(send("token", urlencode(body)), "invalid_client", 401)


def test_credentials_in_basic_are_form_encoded_first(send, form, external):
    """RFC 6749 section 2.3.1 and appendix B: percent-encoded they are the same, and "+" is a space."""
    client_id, secret = external.client.client_id, external.secret
    every = "".join(f"%{ord(character):02x}" for character in client_id)
    assert send("token", urlencode(form), **header(f"{every}:{quote(secret, safe='')}".encode())).status_code == 200
    for raw in (f"{client_id}+:{secret}", f"{client_id}:+{secret}", f"{client_id}:{secret}%20", f"{client_id}:%zz"):
        refused(send("token", urlencode(form), **header(raw.encode())), "invalid_client", 401)


@each(
    "value",
    [
        "Basic", "Basic ", "Basic é", "Basic %%%", "Basic bm9jb2xvbg==", "Basic a,Basic b", "Basic " + "A" * 100_000,
        "Basic //46eA==", "Basic ADoA", "Bearer {access}", "Digest username=x", "{good},{good}", "\u00a0{good}",
    ],
)  # fmt: skip
@each("endpoint", ["token", "revoke", "introspect"])
def test_an_authorization_header_that_says_nothing_is_an_invalid_client(send, form, auth, tokens, endpoint, value):
    """RFC 6749 section 5.2, RFC 7009 section 2.2.1, RFC 7662 section 2.3: malformed, doubled, huge, of another kind."""
    value = value.format(good=auth["HTTP_AUTHORIZATION"], access=tokens["access_token"])
    body = urlencode({**form, "token": tokens["access_token"]})
    with nothing_changed():
        refused(send(endpoint, body, HTTP_AUTHORIZATION=value), "invalid_client", 401)


def test_only_the_authorization_header_is_one(send, form, auth):
    """RFC 6749 section 2.3.1"""
    value = auth["HTTP_AUTHORIZATION"]
    for name in ("HTTP_PROXY_AUTHORIZATION", "HTTP_X_AUTHORIZATION", "HTTP_X_FORWARDED_AUTHORIZATION"):
        refused(send("token", urlencode(form), **{name: value}), "invalid_client", 401)
    assert send("token", urlencode(form), HTTP_AUTHORIZATION=value.replace("Basic ", "bAsIc  ")).status_code == 200


# --- in what form ---


@each(
    ("more", "why"),
    [
        ("refresh_token=x", "repeated"),
        ("grant_type=refresh_token", "repeated"),
        ("grant_type=", "repeated"),
        ("scope=a&scope=a", "repeated"),
        ("client_id=a&client_id=b", "repeated"),
        ("scope=a%00", "NUL"),
        ("scope=" + "x" * 4097, "longer than 4096"),
    ],
)
def test_parameters_repeated_with_nul_or_over_long_are_invalid_requests(send, form, auth, more, why):
    """RFC 6749 section 3.2: parameters must not be included more than once; also where one is empty."""
    with nothing_changed():
        assert why in refused(send("token", f"{urlencode(form)}&{more}", **auth), "invalid_request")


def test_a_parameter_without_a_value_is_as_if_it_were_omitted(send, form, auth):
    """RFC 6749 section 3.2"""
    got = send("token", urlencode({**form, "scope": "", "client_id": "", "client_secret": ""}), **auth).json()
    assert got["scope"] == f"{EDIT} {VIEW}"
    for name in form:
        refused(send("token", urlencode({**form, name: ""}), **auth), "invalid_request")


@each("name", ["scope[a]", "scope[]", "SCOPE", " scope", "scope "])
def test_a_parameter_of_another_name_is_ignored(send, form, auth, name):
    """RFC 6749 section 3.2: unrecognized parameters are ignored; what some frameworks read as scope is none."""
    got = send("token", urlencode({**form, name: VIEW}), **auth)
    assert got.status_code == 200 and got.json()["scope"] == f"{EDIT} {VIEW}"


@each(
    "content_type",
    [
        "application/json", "text/plain", "", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded-v2",
        f"{FORM}; charset=utf-16", f"{FORM}; charset=iso-8859-1", f"{FORM}; charset=made-up",
    ],
)  # fmt: skip
@each("endpoint", ["token", "revoke", "introspect"])
def test_a_body_that_is_no_form_in_utf_8_is_an_invalid_request(
    send, form, auth, product_secret, endpoint, content_type
):
    """RFC 6749 section 3.2 and appendix B, RFC 7009 section 2.1, RFC 7662 section 2.1"""
    who = basic("freshservice", product_secret) if endpoint == "introspect" else auth
    send(endpoint, "", **who)  # notes that the secret was used
    with nothing_changed():
        body = urlencode({**form, "token": form["refresh_token"]})
        refused(send(endpoint, body, content_type, **who), "invalid_request")


def test_json_is_not_read_whatever_it_says_it_is(send, form, auth):
    """RFC 6749 section 3.2"""
    body = json.dumps(form)
    with nothing_changed():
        for content_type in (FORM, "application/json"):
            refused(send("token", body, content_type, **auth), "invalid_request")


@each("content_type", [f"{FORM}; charset=UTF-8", f'{FORM};charset="utf-8"', FORM.upper(), f"{FORM} ; x=y"])
def test_a_form_in_utf_8_is_one_however_it_is_written(send, form, auth, content_type):
    """RFC 9110 section 8.3.1"""
    assert send("token", urlencode(form), content_type, **auth).status_code == 200


@each(
    ("body", "error"),
    [
        (b"\xff\xfe", "invalid_request"),
        (b"grant_type=\xff", "unsupported_grant_type"),
        (b"grant_type=refresh_token&refresh_token=\xff\xfe", "invalid_grant"),
        (b"grant_type=refresh_token&refresh_token=%ff%fe", "invalid_grant"),
        (b"grant_type=refresh_token&refresh_token=%zz%", "invalid_grant"),
        (b"grant_type=refresh_token&refresh_token=%ed%a0%80", "invalid_grant"),
        (b"grant_type=authorization_code&code=%ff&code_verifier=" + b"x" * 43, "invalid_grant"),
        (b"grant_type=authorization_code&code=x&code_verifier=" + b"x" * 43 + b"%0a", "invalid_request"),
        (b"grant_type=authorization_code&code=x&code_verifier=" + b"x" * 129, "invalid_request"),
        (b"grant_type=client_credentials&account=%ff", "invalid_grant"),
        (b"grant_type=client_credentials&account=%C3%A9%F0%9F%98%80", "invalid_grant"),
        (b"grant_type%3Drefresh_token", "invalid_request"),
    ],
)
def test_bytes_that_are_no_text_are_refused_as_what_they_stand_for(send, auth, body, error):
    """RFC 6749 section 5.2 and appendix B, RFC 7636 section 4.1"""
    with nothing_changed():
        refused(send("token", body, **auth), error)


# --- how ---


@each("method", ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE"])
@each("endpoint", ["token", "revoke", "introspect"])
def test_only_post_is_answered(client, form, auth, endpoint, method):
    """RFC 6749 section 3.2, RFC 7009 section 2.1, RFC 7662 section 2.1"""
    body = urlencode({**form, "token": form["refresh_token"]})
    override = {"HTTP_X_HTTP_METHOD_OVERRIDE": "POST"}
    with nothing_changed():
        for path in (f"/oauth/{endpoint}", f"/oauth/{endpoint}?{body}"):
            response = client.generic(method, path, body, content_type=FORM, **auth, **override)
            assert response.status_code == 405 and response["Allow"] == "POST"
            assert response["Cache-Control"] == "no-store"


@each("endpoint", ["token", "revoke", "introspect"])
def test_what_belongs_in_the_body_is_refused_in_the_address(client, external, form, product_secret, auth, endpoint):
    """RFC 6749 sections 2.3.1 and 3.2: parameters and secrets in an address end up in logs."""
    who = basic("freshservice", product_secret) if endpoint == "introspect" else auth
    client.post(f"/oauth/{endpoint}", **who)
    query = urlencode({**form, "token": form["refresh_token"]})
    with nothing_changed():
        for body in ("", query):
            response = client.generic("POST", f"/oauth/{endpoint}?{query}", body, content_type=FORM, **who)
            refused(response, "invalid_request")
        for name in ("client_secret", "CLIENT_SECRET", "scope", "password", "client_assertion", "access_token"):
            response = client.generic("POST", f"/oauth/{endpoint}?{name}=", query, content_type=FORM, **who)
            assert name in refused(response, "invalid_request")


def test_unknown_parameters_are_ignored_in_the_body_and_in_the_address(
    client, external, tokens, ada, cast, product_secret
):
    """RFC 6749 sections 3.1 and 3.2: unrecognized ones are ignored, however often they come (RFC 8707 repeats `resource`)."""
    more = (
        "resource=https://a.example&resource=https://b.example&made_up=1&made_up=2&state=x&state=y&sc%00ope=%00&x="
        + "x" * 5000
    )
    code, verifier = external.code_for(ada, account=cast.acme.slug)
    exchange = {"grant_type": "authorization_code", "code": code, "code_verifier": verifier}
    asked = [
        ("token", urlencode({"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]})),
        ("token", urlencode({"grant_type": "client_credentials", "account": cast.acme.slug})),
        ("token", urlencode(exchange)),
        ("introspect", urlencode({"token": tokens["access_token"]})),
        ("revoke", urlencode({"token": tokens["access_token"]})),
    ]
    for endpoint, body in asked:
        who = (
            ("freshservice", product_secret)
            if endpoint == "introspect"
            else (external.client.client_id, external.secret)
        )
        path = f"/oauth/{endpoint}?api-version=1&{more}&%zz&;&="
        response = client.generic("POST", path, f"{body}&{more}", content_type=FORM, **basic(*who))
        assert response.status_code == 200, (body, response.content)


@each("scope", [f" {VIEW}", f"{VIEW} ", f"  {VIEW}  ", f"{VIEW}\n", f"\r\n\t{VIEW}\t"])
def test_white_space_around_a_scope_is_ignored(external, tokens, ada, cast, scope):
    """RFC 6749 section 3.3; a scope that is nothing else was omitted."""
    assert external.client_credentials(cast.acme.slug, scope=scope).json()["scope"] == VIEW
    assert external.client_credentials(cast.acme.slug, scope=f"{EDIT} {scope}").json()["scope"] == f"{EDIT} {VIEW}"
    assert external.client_credentials(cast.acme.slug, scope=" \t\n ").json()["scope"] == f"{EDIT} {VIEW}"
    for value, requested in ((scope, {VIEW}), (f"{EDIT}   {scope}", {VIEW, EDIT}), (" \n ", {VIEW, EDIT})):
        page = ada.get(authorize_url(external.client, pkce()[1], account=cast.acme.slug, scope=value, prompt="consent"))
        assert page.context["screen"].requested == requested


@each(
    ("asked", "error"),
    [
        ({}, "invalid_request"),
        ({"grant_type": "authorization_code"}, "invalid_request"),
        ({"grant_type": "refresh_token"}, "invalid_request"),
        ({"grant_type": "client_credentials"}, "invalid_request"),
        ({"grant_type": "password", "username": "a", "password": "b"}, "unsupported_grant_type"),
        ({"grant_type": "Refresh_Token", "refresh_token": "x"}, "unsupported_grant_type"),
        ({"grant_type": "refresh_token ", "refresh_token": "x"}, "unsupported_grant_type"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, "invalid_grant"),
        ({"grant_type": "refresh_token", "refresh_token": "x", "state": "xyz"}, "invalid_grant"),
        ({"grant_type": "refresh_token", "state": "xyz"}, "invalid_request"),
        ({"grant_type": "client_credentials", "account": "nowhere"}, "invalid_grant"),
        ({"grant_type": "client_credentials", "account": "{acme}", "scope": "made.up"}, "invalid_scope"),
        ({"grant_type": "client_credentials", "account": "{acme}", "scope": 'é"\\'}, "invalid_scope"),
        ({"grant_type": "refresh_token", "refresh_token": "{refresh}", "scope": "made.up"}, "invalid_scope"),
        ({"grant_type": "refresh_token", "refresh_token": "{refresh}", "scope": 'é"\\'}, "invalid_scope"),
        ({"grant_type": "refresh_token", "refresh_token": "{refresh}", "scope": VIEW.upper()}, "invalid_scope"),
        ({"grant_type": "refresh_token", "refresh_token": "{access}"}, "invalid_grant"),
    ],
)
def test_each_refusal_is_the_one_of_its_table_and_changes_nothing(external, tokens, cast, asked, error):
    """RFC 6749 section 5.2"""
    known = {"acme": cast.acme.slug, "refresh": tokens["refresh_token"], "access": tokens["access_token"]}
    with nothing_changed():
        refused(external.token(**{name: value.format(**known) for name, value in asked.items()}), error)


def test_a_success_is_json_that_nobody_keeps(external, tokens, cast):
    """RFC 6749 section 5.1"""
    for response in (external.refresh(tokens["refresh_token"]), external.client_credentials(cast.acme.slug)):
        assert response.status_code == 200 and response["Content-Type"] == "application/json"
        assert response["Cache-Control"] == "no-store" and response["Pragma"] == "no-cache"


def test_a_page_of_another_origin_is_told_nothing_more(send, form, auth):
    """RFC 9700 section 4.15: no CORS, for secrets do not belong in a browser."""
    response = send("token", urlencode(form), **auth, HTTP_ORIGIN="https://app.example")
    assert response.status_code == 200 and "Access-Control-Allow-Origin" not in response


# --- codes ---


def test_a_code_is_exchanged_without_its_redirect_uri_and_never_with_another(external, ada, cast):
    """RFC 6749 section 4.1.3, relaxed as OAuth 2.1 section 10.2 has it: PKCE binds the code to its request."""
    for sent in ({"redirect_uri": ""}, {}):
        code, verifier = external.code_for(ada, account=cast.acme.slug)
        form = {"grant_type": "authorization_code", "code": code, "code_verifier": verifier}
        refused(external.token(**form, redirect_uri="https://app.example/other"), "invalid_grant")
        assert external.token(**form, **sent).status_code == 200


@shared
def two_uris(cast, client):
    uris = ["https://app.example/one", "https://app.example/two", REDIRECT_URI]
    return AppSide(client, *factories.client(cast.dev, kind=Kind.EXTERNAL, uris=uris))


def test_a_code_for_one_redirect_uri_is_not_redeemed_with_another_of_the_same_client(two_uris, ada, cast):
    """RFC 6749 section 4.1.3, RFC 9700 section 4.5.1"""
    verifier, challenge = pkce()
    one, two = "https://app.example/one", "https://app.example/two"
    code = answer(agree(ada, authorize_url(two_uris.client, challenge, redirect_uri=one, account=cast.acme.slug)))[
        "code"
    ]
    with nothing_changed():
        for uri in (two, REDIRECT_URI, one + "/", one.upper(), one + "?", one + "%00", " " + one):
            refused(two_uris.exchange(code, verifier, redirect_uri=uri), "invalid_grant")
    assert two_uris.exchange(code, verifier, redirect_uri=one).status_code == 200


def test_a_code_for_one_loopback_port_is_not_redeemed_with_another(external, ada, cast):
    """RFC 8252 section 7.3: the port may vary from one request to the next, not within one."""
    verifier, challenge = pkce()
    uri = REDIRECT_URI.replace("9999", "50001")
    code = answer(agree(ada, authorize_url(external.client, challenge, redirect_uri=uri, account=cast.acme.slug)))[
        "code"
    ]
    refused(external.exchange(code, verifier), "invalid_grant")
    assert external.exchange(code, verifier, redirect_uri=uri).status_code == 200


def test_a_code_injected_into_another_session_is_worth_nothing(external, ada, cast):
    """RFC 9700 sections 4.5 and 4.8: a stolen code fits no other verifier, none at all, or the challenge itself."""
    code, _verifier = external.code_for(ada, account=cast.acme.slug)
    challenge = external.client.accesses.get().consents.get().codes.get().code_challenge
    for verifier in (pkce()[0], challenge, "x" * 43):
        refused(external.exchange(code, verifier), "invalid_grant")
    refused(external.exchange(code, ""), "invalid_request")
    assert not AccessToken.objects.exists() and not RefreshToken.objects.exists()


def test_a_code_is_no_refresh_token_and_a_refresh_token_no_code(external, ada, cast, tokens):
    """RFC 6749 section 5.2"""
    code, verifier = external.code_for(ada, account=cast.acme.slug)
    with nothing_changed():
        refused(external.refresh(code), "invalid_grant")
        refused(external.exchange(tokens["refresh_token"], verifier), "invalid_grant")
        refused(external.exchange(tokens["access_token"], verifier), "invalid_grant")
    assert external.exchange(code, verifier).status_code == 200
