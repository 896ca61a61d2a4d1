"""Make a test's people and things by calling actions, so that no test starts from an impossible state."""

import itertools
import re

from django.contrib.auth.models import Group

from consent.actions import granting
from consent.screen import build_screen
from credentials import actions as credentials
from credentials.models import Kind, Level, Product
from credentials.registry import import_document
from marketplace.actions import publishing
from portal.accounts.actions import accounts, inviting, memberships, people, teams
from portal.foundation.database import database_now
from tests.mailing import outbox

PASSWORD = "correct horse battery"
REDIRECT_URI = "http://127.0.0.1:9999/callback"
VIEW, EDIT, CREATE, DELETE = (f"freshservice.tickets.{name}" for name in ("view", "edit", "create", "delete"))
_numbers = itertools.count(1)

DOCUMENT = {
    "paths": {
        "/api/v2/tickets": {
            "get": {"security": [{"oauth2": [VIEW]}]},
            "post": {"security": [{"oauth2": [CREATE]}]},
        },
        "/api/v2/tickets/{id}": {
            "get": {"security": [{"oauth2": [VIEW]}]},
            "put": {"security": [{"oauth2": [EDIT]}]},
            "delete": {"security": [{"oauth2": [DELETE]}]},
        },
        "/api/v2/tickets/filter": {"get": {"security": [{"oauth2": [EDIT]}, {"oauth2": [VIEW]}]}},
        "/api/v2/closed": {"get": {}},
    },
    "components": {
        "securitySchemes": {
            "oauth2": {
                "type": "oauth2",
                "flows": {
                    "authorizationCode": {
                        "scopes": {
                            VIEW: "View tickets",
                            EDIT: "Edit tickets",
                            CREATE: "Create tickets",
                            DELETE: "Delete and restore tickets",
                        }
                    }
                },
                "x-scope-risk": {VIEW: "low", EDIT: "medium", CREATE: "medium", DELETE: "high"},
            }
        }
    },
}


def product():
    row, made = Product.objects.get_or_create(slug="freshservice", defaults={"name": "Freshservice"})
    if made:
        import_document(row, DOCUMENT)
    return row


def person(name="Pat", *, team=True, **more):
    user = people.create_person(
        email=f"{name.lower()}{next(_numbers)}@example.com", name=name, password=PASSWORD, by=None, **more
    )
    if team:
        teams.create_team(by=user)
    return user


def reviewer():
    return person("Rita", is_staff=True, groups=[Group.objects.get(name="Reviewers")])


def team_of(user):
    return user.team_memberships.get(role="owner").team


def account(name="acme"):
    return accounts.create_account(slug=f"{name}-{next(_numbers)}", name=name.title(), by=None)


def member(account, role="agent", name=None):
    user = person(name or role.title(), team=False)
    memberships.add_member(account, user, role=role, by=None)
    return user


def invited(organisation, email, *, role="agent", by):
    """Return a mailed invitation and the token in its mail."""
    made = inviting.invite(organisation, email=email, role=role, by=by)
    inviting.tell_of_invitation(made)
    made.refresh_from_db()
    return made, mailed_token()


def mailed_token():
    """Return the token of the last mailed invitation."""
    return re.search(r"/invitations/([^/\s]+)/", outbox()[-1].body)[1]


def client(
    developer, *, kind=Kind.PLATFORM, level=Level.ACCOUNT, scopes=(VIEW, EDIT), name="Insights", uris=(REDIRECT_URI,)
):
    product()
    return credentials.create_client(
        team_of(developer),
        name=name,
        redirect_uris=list(uris),
        scopes=dict.fromkeys(scopes, "We need it"),
        kind=kind,
        level=level,
        by=developer,
    )


def version_fields(number="1.0", **more):
    return {
        "number": number,
        "name": "Insights",
        "tagline": "See more",
        "category": "other",
        "description": "A **good** app",
        "release_notes": "New",
        "required_scopes": [VIEW],
        "optional_scopes": [],
        **more,
    }


def app(developer, row, **fields):
    """An app with a draft of its first version."""
    made = publishing.create_app(team_of(developer), slug=f"app-{next(_numbers)}", client=row, by=developer)
    return publishing.create_version(made, by=developer, **version_fields(**fields))


def publish(draft, developer, by=None):
    submitted = publishing.submit_version(draft, by=developer)
    publishing.approve_version(submitted, by=by or reviewer())
    return publishing.publish_version(submitted, by=developer)


def agree(row, account, by, *, requested=None, chosen=(), **more):
    """Agree to what the screen shows, as pressing Agree does."""
    screen = build_screen(row, account, by=by, now=database_now(), requested=requested, **more)
    return granting.grant_consent(
        row, account, by=by, shown=screen.digest(), chosen=set(chosen), requested=requested, **more
    )
