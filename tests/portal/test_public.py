"""The views for people who are not signed in, listed here so that none becomes public by mistake."""

import pytest
from django.test import Client

from tests.test_architecture import addresses

# Programs authenticate themselves; the other views show no personal data.
PUBLIC = {
    "",
    "invitations/", "invitations/<str:token>/", "teams/<uuid:public_id>/logo/",
    "marketplace/", "marketplace/<slug:slug>/", "marketplace/<slug:slug>/icon/<int:pk>/",
    "marketplace/<slug:slug>/screenshots/<int:pk>/<int:number>/",
    "oauth/authorize", "oauth/token", "oauth/revoke", "oauth/introspect", "oauth/check/<slug:product>",
    "oauth/callback/<slug:slug>/<str:integration>", "credentials/test/callback/",
    "api/v1/installations/<uuid:pk>/requests/<str:name>", "api/v1/packages/check",
    ".well-known/oauth-authorization-server", ".well-known/oauth-protected-resource",
    ".well-known/oauth-protected-resource/<path:path>", ".well-known/oauth-protected-resource/sandbox/api/v2",
    ".well-known/ledger-keys.json", "receipts/verify_receipt.py",
    "sandbox/api/v2/tickets", "sandbox/api/v2/tickets/<int:ticket_id>", "sandbox/app/install", "sandbox/app/callback",
    "help/", "help/<slug:slug>/", "help/<slug:slug>.md", "llms.txt",
    "dev/components/", "dev/mail/", "dev/mail/<str:name>/", "dev/mail/<str:name>/html/",
    "favicon.ico", "healthz", "readyz",
}  # fmt: skip
# Views of other packages with sign-in rules of their own; tests/people/table.txt says what each shows.
GUARD_THEMSELVES = ("accounts/", "admin/")
OURS = {address: view for address, view in addresses() if not address.startswith(GUARD_THEMSELVES)}


def test_exactly_these_views_are_public():
    assert {address for address, view in OURS.items() if not getattr(view, "login_required", True)} == PUBLIC


@pytest.mark.django_db
def test_an_unmarked_view_requires_signing_in():
    for method in ("get", "post", "put", "delete", "options"):
        response = getattr(Client(), method)("/settings/?a=b")
        assert (response.status_code, response["Location"]) == (302, "/accounts/login/?next=/settings/%3Fa%3Db")
