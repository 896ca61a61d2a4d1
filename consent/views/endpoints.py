"""The endpoints that programs call: token, revoke, introspect and check."""

import json
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_POST
from oauth2_provider.oauth2_backends import get_oauthlib_core

from credentials import registry, resources
from credentials.authentication import MalformedBasic, check_product_secret, read_basic
from credentials.models import Product
from portal.foundation.limits.address import address_of
from portal.foundation.limits.rates import TooMany, spend

from .. import check as checking
from ..actions.failing import note_failure, note_refusal
from ..answers import BASIC, NO_STORE, OAUTH_NO_STORE, oauth_answer, oauth_error, refused_call
from ..models import Where, Why
from ..parameters import PROGRAMS
from ..steps import Attempt, find_client

GRANT_TYPES = ["authorization_code", "client_credentials", "refresh_token"]


def for_programs(view: Any) -> Any:
    """Accept POST only, without a session or a CSRF token, and keep what was sent out of error reports."""
    view = require_POST(sensitive_post_parameters()(sensitive_variables()(view)))
    return login_not_required(csrf_exempt(view))


def _oauthlib(core: Any, respond: Any, request: HttpRequest) -> Any:
    """Run an oauthlib endpoint in one transaction, so that the locks of validation hold until the commit."""
    with transaction.atomic():
        _, _headers, body, status = respond(request)
    response = HttpResponse(body, status=status, content_type="application/json", headers=OAUTH_NO_STORE)
    if status == 401 and "Authorization" in request.headers:
        # RFC 6749 section 5.2. With this header, a client that sent credentials in the body would prompt for a password.
        response["WWW-Authenticate"] = BASIC
    return response


@for_programs
def token(request: HttpRequest) -> HttpResponse:
    """RFC 6749 section 3.2."""
    attempt = request.META["attempt"] = Attempt()
    response = _token(request, attempt)
    if response.status_code == 200:
        return response
    # A failed authentication was counted already, for the client that it names.
    client = attempt.client if attempt.client or attempt.why == Why.SECRET else _client_named_in(request)
    if client:
        note_failure(
            client.pk,
            account_id=attempt.consent.access.account_id if attempt.consent else None,
            where=Where.TOKEN,
            why=attempt.why or Why.REQUEST,
            error=json.loads(response.content)["error"],
            text=attempt.text,
            parameter=attempt.parameter,
        )
    if attempt.consent and attempt.can_reauthorize:
        url = checking.reauthorize_url(attempt.consent)
        response.content = json.dumps({**json.loads(response.content), "reauthorize_url": url})
    return response


def form_can_be_read(request: HttpRequest) -> Any:
    return get_oauthlib_core().check_body(request)


def grant_type_is_sent(request: HttpRequest) -> str:
    return "" if request.POST.get("grant_type") else "grant_type is missing"


def grant_type_is_known(request: HttpRequest) -> str:
    known = request.POST["grant_type"] in GRANT_TYPES
    return "" if known else f"grant_type must be one of {', '.join(GRANT_TYPES)}"


# What is refused before oauthlib runs the steps of the grant (CODE, REFRESH and CREDENTIALS of steps.py).
TOKEN = (
    (form_can_be_read, "invalid_request"),
    (grant_type_is_sent, "invalid_request"),
    (grant_type_is_known, "unsupported_grant_type"),
)


def _token(request: HttpRequest, attempt: Any) -> Any:
    for step, error in TOKEN:
        if problem := step(request):
            name = problem.partition(" ")[0]
            attempt.refused(Why.REQUEST, problem, parameter=name if name in PROGRAMS else "")
            return oauth_error(error, problem)
    core = get_oauthlib_core()
    return _oauthlib(core, core.create_token_response, request)


def _client_named_in(request: HttpRequest) -> Any:
    """Return the client that an unauthenticated request names, or None, so that its team learns what its app sends.

    What a stranger sends in its name counts as a failed authentication, and no more than that is recorded.
    """
    try:
        basic = read_basic(request.headers.get("Authorization", ""))
    except MalformedBasic:
        return None
    client_id, who = basic[0] if basic else request.POST.get("client_id", ""), address_of(request.META)
    try:
        spend(("token failed by address", who), ("token failed by address and client", who, client_id))
    except TooMany:
        return None
    return find_client(client_id)


@for_programs
def revoke(request: HttpRequest) -> HttpResponse:
    """RFC 7009."""
    core = get_oauthlib_core()
    if problem := core.check_body(request):
        return oauth_error("invalid_request", problem)
    return _oauthlib(core, core.create_revocation_response, request)


def _product_of(request: HttpRequest) -> Any:
    """Return the product that authenticates with HTTP Basic, or None."""
    try:
        basic = read_basic(request.headers.get("Authorization", ""))
    except MalformedBasic:
        return None
    return check_product_secret(*basic) if basic else None


@for_programs
def introspect(request: HttpRequest) -> HttpResponse:
    """RFC 7662; only products may ask, with their slug and secret."""
    product = _product_of(request)
    if product is None:
        # Only failures are counted: products ask about every call, and must not wait for Redis.
        spend(("introspection failed by address", address_of(request.META)))
        # HTTP Basic is the only way here, so every refusal has the challenge (RFC 7662 section 2.3).
        return oauth_error("invalid_client", "Authenticate as a product", 401, **{"WWW-Authenticate": BASIC})
    if problem := get_oauthlib_core().check_body(request):
        return oauth_error("invalid_request", problem)
    if not request.POST.get("token"):
        return oauth_error("invalid_request", "token is missing")
    try:
        bearer = checking.read(request.POST["token"])
        return oauth_answer(checking.introspection(bearer, _published(product).scopes))
    except checking.Refusal as refusal:
        note_refusal(refusal, Where.INTROSPECTION)
        return oauth_answer({"active": False})


@login_not_required
@csrf_exempt
def check(request: HttpRequest, product: str) -> HttpResponse:
    """Answer a gateway's subrequest with 200, 401 or 503. Envoy takes any other 2xx for a refusal."""
    found = Product.objects.filter(slug=product).first()
    try:
        return _check(request, found)
    except checking.Refusal as refusal:
        return refused_call(refusal, resources.metadata_url_of(found))


def _published(product: Product) -> registry.Published:
    return registry.published(product.slug, product.published)


def _check(request: HttpRequest, product: Product | None) -> HttpResponse:
    method, uri = checking.original_call(request.META)
    published = _published(product) if product else registry.Published({}, [])
    endpoint = published.resolve(method, uri)
    value = checking.bearer_token(request.headers.get("Authorization", ""))
    bearer = checking.check(value, endpoint.scopes if endpoint else [])
    told = checking.told_to_gateway(bearer, published.scopes)
    return HttpResponse(content_type="text/plain", headers={**NO_STORE, **told})
