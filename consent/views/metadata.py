"""The documents that describe the authorization server (RFC 8414) and the APIs that it protects (RFC 9728)."""

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from credentials import resources
from credentials.models import Scope

from .endpoints import GRANT_TYPES


@login_not_required
@require_safe
def authorization_server(request: HttpRequest) -> HttpResponse:
    """RFC 8414 metadata, with RFC 9207's flag. It lists no authentication for introspection, which is for products only."""
    base = settings.BASE_URL
    ways = ["client_secret_basic", "client_secret_post"]
    return JsonResponse(
        {
            "issuer": base,
            "authorization_endpoint": f"{base}/oauth/authorize",
            "token_endpoint": f"{base}/oauth/token",
            "revocation_endpoint": f"{base}/oauth/revoke",
            "introspection_endpoint": f"{base}/oauth/introspect",
            "scopes_supported": list(
                Scope.objects.filter(deprecated_at=None).order_by("name").values_list("name", flat=True)
            ),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": GRANT_TYPES,
            "token_endpoint_auth_methods_supported": ways,
            "revocation_endpoint_auth_methods_supported": ways,
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }
    )


@login_not_required
@require_safe
def portal_resource(request: HttpRequest) -> HttpResponse:
    """Describe the portal's own API, /api/v1/, which accepts any good token of the installation in question."""
    return JsonResponse(resources.document(settings.BASE_URL, name="App Management Portal", scopes=[]))


@login_not_required
@require_safe
def product_resource(request: HttpRequest, path: str) -> HttpResponse:
    product = resources.find_product(path)
    if product is None:
        raise Http404
    scopes = resources.scopes_needed(product)
    return JsonResponse(resources.document(product.base_address, name=product.name, scopes=scopes))
