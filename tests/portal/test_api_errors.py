"""Every answer under /api/ is JSON, whatever goes wrong."""

import base64
import json
import uuid

import pytest
from django.core.exceptions import SuspiciousOperation
from django.db import OperationalError, connection
from django.test import Client as Browser

from credentials.secrets import ACCESS_TOKEN, CLIENT_SECRET, PRODUCT_SECRET, generate
from portal import middleware, views

pytestmark = pytest.mark.django_db
RUN = f"/api/v1/installations/{uuid.UUID(int=1)}/requests/events"
METHODS = ["get", "head", "put", "patch", "delete", "options", "trace"]


def is_json(answer, status, error):
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/json"), answer
    assert answer["Cache-Control"] == "no-store"
    if answer.content:
        error_body = json.loads(answer.content)
        assert error_body["error"] == error and error_body["error_description"]


@pytest.mark.parametrize(
    "path",
    ["/api/", "/api", "/api/v1/packages/check/", "/api/v1/nothing", "/api/v2/", "/api/v1/installations/7/requests/x"],
)
@pytest.mark.parametrize("accepts", ["text/html", "*/*"])
def test_an_unknown_url_answers_in_json(client, path, accepts):
    if path == "/api":
        path = "/api/x?y=<script>"
    for method in ("get", "post"):
        is_json(getattr(client, method)(path, headers={"accept": accepts}), 404, "not_found")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", ["/api/v1/packages/check", RUN])
def test_a_wrong_method_answers_in_json_and_names_the_right_ones(client, path, method):
    answer = getattr(client, method)(path, headers={"accept": "text/html"})
    is_json(answer, 405, "invalid_request")
    assert answer["Allow"] == "POST"


@pytest.mark.parametrize("path", ["/api/v1/packages/check", RUN])
def test_an_unauthenticated_caller_gets_json(client, path):
    for authorization in (None, "Basic !", "Bearer x", "Basic eDp5", "Nothing"):
        headers = {"authorization": authorization} if authorization else {}
        answer = client.post(path, b"x", content_type="application/zip", headers=headers)
        assert answer.status_code == 401 and answer["WWW-Authenticate"]
        assert answer["Content-Type"] == "application/json" and answer.json()["error_description"]


def test_the_package_check_says_how_to_authenticate(client):
    answer = client.post("/api/v1/packages/check", b"x", content_type="application/zip")
    is_json(answer, 401, "invalid_client")
    assert (
        "as HTTP Basic" in answer.json()["error_description"] and answer["WWW-Authenticate"] == 'Basic realm="portal"'
    )


def test_malformed_and_oversized_requests_answer_in_json(client, cast):
    check = "/api/v1/packages/check"
    is_json(client.post(check, headers={"host": "elsewhere.example"}), 400, "invalid_request")
    is_json(client.post(f"{check}?app=%00"), 400, "invalid_request")
    is_json(client.post(check, CONTENT_LENGTH=str(7 * 2**20)), 413, "invalid_request")
    is_json(client.post(f"{check}?x={'x' * 70_000}"), 414, "invalid_request")
    browser = Browser(enforce_csrf_checks=True)
    browser.force_login(cast.dev)
    answer = browser.post(check, b"x", content_type="application/zip")
    assert (answer.status_code, answer.json()["error"]) == (403, "access_denied")


def test_an_internal_error_answers_in_json(rf):
    request = rf.get("/api/v1/nothing")
    is_json(views.malformed(request, SuspiciousOperation()), 400, "invalid_request")
    is_json(views.server_error(request), 500, "server_error")
    try:
        raise OperationalError
    except OperationalError:
        is_json(views.server_error(request), 503, "temporarily_unavailable")
    is_json(middleware.unavailable(request), 503, "temporarily_unavailable")
    assert middleware.unavailable(rf.get("/"))["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize(
    "path",
    [
        "/oauth/token",
        "/oauth/revoke",
        "/oauth/introspect",
        "/oauth/check/x",
        "/sandbox/api/v2/tickets",
        "/api/v1/packages/check",
    ],
)
def test_programs_get_json_while_the_database_is_away(client, path):
    def away(*_):
        raise OperationalError

    form = "grant_type=client_credentials&client_id=x&client_secret=x&token=x"
    headers = {}
    if path.endswith(("introspect", "packages/check")):
        secret = generate(PRODUCT_SECRET if path.endswith("introspect") else CLIENT_SECRET)
        headers["authorization"] = "Basic " + base64.b64encode(f"x:{secret}".encode()).decode()
    elif path.startswith(("/oauth/check", "/sandbox")):
        headers["authorization"] = f"Bearer {generate(ACCESS_TOKEN)}"
    if path.startswith("/oauth/check/"):
        headers |= {"x-original-method": "GET", "x-original-uri": "/"}
    with connection.execute_wrapper(away):
        answer = client.post(path, form, "application/x-www-form-urlencoded", headers=headers)
    is_json(answer, 503, "temporarily_unavailable")
    assert int(answer["Retry-After"]) and answer.content.isascii() and answer.json()["error_description"].isascii()
