"""Which section of the guides answers the questions of each page."""

from functools import lru_cache
from typing import NamedTuple

from django.conf import settings

from .guides import guides

# Of each route, the one with the longest beginning here; "" is for home and for addresses at which there is nothing.
SECTIONS = {
    "": "start",
    "accounts/": "start#sign-up",
    "admin/": "reviewers",
    "admin/accounts/": "operators#staff",
    "admin/credentials/client/": "reviewers#suspend-credentials",
    "admin/credentials/": "operators#add-a-product",
    "admin/marketplace/version/": "reviewers#decide-on-a-version",
    "api/": "errors#the-management-api",
    "apps/": "scenarios#a-marketplace-app-that-calls-the-companys-products",
    "apps/<slug:slug>/accounts/": "going-live#publish-for-chosen-accounts",
    "apps/<slug:slug>/versions/": "scopes#required-and-optional",
    "apps/<slug:slug>/versions/<int:pk>/": "going-live#before-you-submit",
    "apps/<slug:slug>/versions/<int:pk>/changes/": "scopes#a-new-version",
    "apps/<slug:slug>/versions/<int:pk>/custom/": "going-live#publish-for-chosen-accounts",
    "apps/<slug:slug>/versions/<int:pk>/package/": "packages#check-a-package",
    "apps/<slug:slug>/versions/<int:pk>/package/edit/": "packages#request-templates",
    "apps/<slug:slug>/versions/<int:pk>/package/secrets/": "multi-oauth#keep-the-vendors-secret-in-the-portal",
    "apps/<slug:slug>/versions/<int:pk>/publish/": "going-live#publish",
    "apps/<slug:slug>/versions/<int:pk>/submit/": "going-live#submit-a-version",
    "apps/<slug:slug>/versions/<int:pk>/withdraw/": "going-live#withdraw-a-version",
    "authorizations/": "agents#see-and-change-what-you-allowed",
    "authorizations/<uuid:access_id>/": "admins#uninstall-or-revoke",
    "authorizations/<uuid:access_id>/reauthorize/": "agents#reauthorize",
    "authorizations/ending/": "agents#agreements-end",
    "consents/": "admins#remove-permissions",
    "consents/<uuid:consent_id>/confirm/": "admins#people",
    "consents/<uuid:consent_id>/renew/": "agents#agreements-end",
    "consents/<uuid:consent_id>/revoke/": "admins#uninstall-or-revoke",
    "credentials/": "start#create-oauth-credentials",
    "credentials/<slug:client_id>/": "scopes#choose-and-add-scopes",
    "credentials/<slug:client_id>/log/": "errors#where-to-look",
    "credentials/<slug:client_id>/postman/": "workflows#postman",
    "credentials/<slug:client_id>/scopes/": "scopes#choose-and-add-scopes",
    "credentials/<slug:client_id>/secrets/": "going-live#rotate-the-secret",
    "credentials/<slug:client_id>/test/": "tokens#when-a-call-is-refused",
    "credentials/new/test/": "start#the-quick-way",
    "dev/": "start",
    "help/": "start",
    "installations/": "admins#install-an-app",
    "installations/<uuid:pk>/connections/": "admins#connect-other-services",
    "installations/<uuid:pk>/console/": "packages#request-templates",
    "installations/<uuid:pk>/discard/": "admins#install-an-app",
    "installations/<uuid:pk>/settings/": "admins#install-an-app",
    "installations/<uuid:pk>/uninstall/": "admins#uninstall-or-revoke",
    "installations/<uuid:pk>/upgrade": "admins#new-versions",
    "installations/overview/": "admins#see-what-has-access",
    "installations/waiting/": "admins#new-versions",
    "invitations/": "admins#people",
    "ledger/": "admins#prove-what-happened",
    "marketplace/": "admins#install-an-app",
    "members/": "admins#people",
    "needs/": "admins#new-versions",
    "oauth/authorize": "admins#agree",
    "oauth/callback": "admins#connect-other-services",
    "receipts/": "admins#prove-what-happened",
    "sandbox/": "start#call-the-api",
    "scopes/": "scopes#find-the-scope",
    "settings/": "agents#emails",
    "switch/": "admins#people",
    "teams/": "going-live#before-you-submit",
}


class Answers(NamedTuple):
    """A section that answers questions: its title, and its address."""

    title: str
    url: str


def section_of(route: str) -> str:
    """Return the guide, with the anchor of a section, that answers the questions of the page at a route."""
    return SECTIONS[max((begin for begin in SECTIONS if route.startswith(begin)), key=len)]


def answers_of(route: str) -> Answers:
    return _answers(section_of(route), settings.BASE_URL)


@lru_cache(maxsize=200)
def _answers(target: str, base_url: str) -> Answers:
    slug, _hash, anchor = target.partition("#")
    guide = guides()[slug]
    title = next(section.title for section in guide.sections if section.anchor == anchor)
    return Answers(title, guide.address(anchor))
