"""The metadata documents say what they must, and what they say is so (RFC 8414, RFC 9207, RFC 9728)."""

from urllib.parse import urlencode, urlsplit

import pytest
from django.conf import settings

from credentials.models import Scope
from tests.oauth import authorize_url, basic, pkce
from tests.protocol.asking import FORM, each
from tests.worlds import shared

pytestmark = pytest.mark.django_db

SERVER, RESOURCE = "/.well-known/oauth-authorization-server", "/.well-known/oauth-protected-resource"


@shared
def told(client, cast):
    return client.get(SERVER).json()


@each("path", [SERVER, RESOURCE])
def test_each_is_json_for_get_and_head_and_read_without_signing_in(client, cast, path):
    """RFC 8414 section 3.2, RFC 9728 section 3.2, RFC 9110 section 9.1"""
    response = client.get(path)
    assert response.status_code == 200 and response["Content-Type"] == "application/json"
    assert client.head(path).status_code == 200 and not client.head(path).content
    for method in ("POST", "PUT", "DELETE"):
        assert client.generic(method, path).status_code == 405
    # Section 3.2 of both: a member with nothing in it is left out.
    assert all(value not in ([], "", None) for value in response.json().values())


def test_what_is_required_is_there_and_belongs_to_the_issuer(told):
    """RFC 8414 sections 2 and 3.3, RFC 9207 section 3: the issuer is the address that the document was found under."""
    assert told["issuer"] == settings.BASE_URL
    issuer = urlsplit(told["issuer"])
    assert not issuer.query and not issuer.fragment and not told["issuer"].endswith("/")
    paths = {"authorization": "authorize", "token": "token", "revocation": "revoke", "introspection": "introspect"}
    for name, path in paths.items():
        assert told[f"{name}_endpoint"] == f"{told['issuer']}/oauth/{path}"
    assert told["response_types_supported"] == ["code"]
    assert told["authorization_response_iss_parameter_supported"] is True
    assert not {"jwks_uri", "registration_endpoint", "id_token_signing_alg_values_supported"} & told.keys()


def test_the_scopes_are_those_that_can_be_chosen(told):
    """RFC 8414 section 2, C6; of the portal's own API there are none (tests/protocol/test_resource_metadata.py)."""
    choosable = Scope.objects.filter(deprecated_at=None).values_list("name", flat=True)
    assert told["scopes_supported"] == sorted(choosable)


def test_the_grants_and_the_ways_to_authenticate_are_those_that_work_and_no_other(
    told, external, tokens, cast, ada, send, product_secret
):
    """RFC 8414 section 2"""
    assert told["grant_types_supported"] == ["authorization_code", "client_credentials", "refresh_token"]
    for grant_type in [*told["grant_types_supported"], "password", "urn:ietf:params:oauth:grant-type:token-exchange"]:
        known = external.token(grant_type=grant_type).json()["error"] != "unsupported_grant_type"
        assert known is (grant_type in told["grant_types_supported"])
    ways = ["client_secret_basic", "client_secret_post"]
    assert told["token_endpoint_auth_methods_supported"] == told["revocation_endpoint_auth_methods_supported"] == ways
    assert "introspection_endpoint_auth_methods_supported" not in told, "only products may ask, and no client"
    client_id, secret = external.client.client_id, external.secret
    for endpoint, form in (
        ("token", {"grant_type": "client_credentials", "account": cast.acme.slug}),
        ("revoke", {"token": "x"}),
    ):
        in_body = urlencode({**form, "client_id": client_id, "client_secret": secret})
        assert send(endpoint, urlencode(form), **basic(client_id, secret)).status_code == 200
        assert send(endpoint, in_body).status_code == 200
    in_body = urlencode({"token": "x", "client_id": "freshservice", "client_secret": product_secret})
    assert send("introspect", "token=x", **basic("freshservice", product_secret)).status_code == 200
    assert send("introspect", in_body, FORM).status_code == 401


def test_the_challenge_method_and_the_response_mode_are_those_that_work_and_no_other(told, external, ada, cast):
    """RFC 8414 section 2, RFC 7636 section 6.2"""
    assert told["code_challenge_methods_supported"] == ["S256"] and told["response_modes_supported"] == ["query"]

    def shows_the_screen(**more):
        return ada.get(authorize_url(external.client, pkce()[1], account=cast.acme.slug, **more)).status_code == 200

    assert shows_the_screen() and shows_the_screen(response_mode="query")
    assert not any(shows_the_screen(response_mode=mode) for mode in ("fragment", "form_post", "jwt", "QUERY"))
    assert not any(shows_the_screen(code_challenge_method=method) for method in ("plain", "s256", "S512"))
