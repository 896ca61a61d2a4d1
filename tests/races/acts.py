"""The acts that race. Each does one thing in the world, as one person, with freshly read rows as in a view."""

from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.utils import translation

from consent.actions import ending, granting, issuing, succeeding
from consent.reasons import AccessEnd
from credentials import actions as credentials
from credentials.models import ClientSecret, Product
from credentials.registry import import_document
from marketplace.actions import installing, packaging, publishing, upgrading
from marketplace.vendors import actions
from marketplace.vendors import actions as connecting
from marketplace.vendors.oauth_client import Tokens, VendorError
from portal.accounts.actions import accounts, inviting, memberships, people, teams
from portal.accounts.models import Membership, Role, Team, TeamMembership, User
from portal.foundation.refusals import Refused
from tests.factories import CREATE, EDIT, REDIRECT_URI, VIEW, version_fields
from tests.marketplace.packages import as_zip, good
from tests.servers import Answer


def anew(row):
    return type(row).objects.get(pk=row.pk)


def answer_of(outcome):
    """Return the status and body of an outcome that is an HTTP answer, or (None, b"")."""
    if isinstance(outcome, Answer):
        return outcome.status, outcome.body
    return (outcome.status_code, outcome.content) if isinstance(outcome, HttpResponse) else (None, b"")


def kind_of(outcome):
    """Return whether an act was done or refused; raise anything else."""
    status, body = answer_of(outcome)
    if status:
        assert status in (200, 400, 401), (status, body)
        return "done" if status == 200 else "refused"
    if isinstance(outcome, Refused | ValidationError):
        return "refused"
    if isinstance(outcome, Exception):
        raise outcome
    return "done"


# --- asking for tokens ---


def exchange(name="account"):
    return lambda w: w.app_side(name).exchange(*w.codes[name])


def replay(w):
    return w.app_side("account").exchange(*w.used["account"])


def refresh(name="account"):
    return lambda w: w.app_side(name).refresh(w.tokens[name]["refresh_token"])


def reuse(w):
    return w.app_side("reused").refresh(w.replaced["refresh_token"])


def client_credentials(w):
    return w.app_side("account").client_credentials(w.account.slug)


def give_back(w):
    return w.app_side("account").revoke(w.tokens["account"]["refresh_token"])


def give_back_access(w):
    return w.app_side("account").revoke(w.tokens["account"]["access_token"])


def issue_code(name, who):
    return lambda w: issuing.issue_code(
        anew(w.consents[name]), by=getattr(w, who), scopes={VIEW}, redirect_uri=REDIRECT_URI, code_challenge="x" * 43
    )


def use_up(w):
    return issuing.use_up_code(w.sides["account"].client, w.codes["account"][0])


# --- consents ---


def agree(name, who, **more):
    """Press Agree on the page shown before the race."""

    def act(w):
        row, person = w.sides[name].client, getattr(w, who)
        with translation.override("en"):
            return granting.grant_consent(
                anew(row), w.account, by=person, shown=w.pages[name, who, *more], chosen={EDIT}, **more
            )

    return act


def revoke(name, who):
    return lambda w: ending.revoke_consent(anew(w.consents[name]), by=getattr(w, who))


def trim(who="admin", scope=EDIT, name="account"):
    return lambda w: ending.trim_consent(anew(w.consents[name]), scopes={scope}, by=getattr(w, who))


def end_external(who):
    return lambda w: ending.end_access(
        anew(w.consents["external"].access), by=getattr(w, who), reason=AccessEnd.REVOKED
    )


def revoke_for_all(who="admin2"):
    return lambda w: ending.revoke_for_all(anew(w.consents["agent"].access), by=getattr(w, who))


def expire(w):
    return ending.expire_consents()


def stamp(w):
    return ending.revoke_tokens(anew(w.consents["ended"].access))


def open_access(w):
    return granting.open_access(anew(w.sides["new"].client), w.account, by=w.admin)


# --- installations ---


def install(who="admin"):
    return lambda w: installing.install(w.versions["listed"].app, w.account, by=getattr(w, who))


def uninstall(name, who="admin2"):
    return lambda w: installing.uninstall(anew(w.installations[name]), by=getattr(w, who))


def upgrade(who="admin2", name="grown"):
    """Update to the next version, and agree if it asks, as read before."""

    def act(w):
        here, there, by = anew(w.installations[name]), anew(w.versions[f"{name}_next"]), getattr(w, who)
        with translation.override("en"):
            return upgrading.upgrade(here, there, by=by, shown=w.steps[name, who])

    return act


def decline_upgrade(who="admin2"):
    return lambda w: upgrading.decline_upgrade(
        anew(w.installations["grown"]), anew(w.versions["grown_next"]), by=getattr(w, who)
    )


def set_upgrades_itself(who="admin2"):
    return lambda w: upgrading.set_upgrades_itself(anew(w.installations["grown"]), on=True, by=getattr(w, who))


def withdraw(name, who="dev"):
    return on_version("withdraw_version", name, by=who, reason="Why")


def discard(who="admin2"):
    return lambda w: installing.discard(anew(w.installations["unfinished"]), by=getattr(w, who))


# --- connections to vendors, which nobody calls here ---


def prepare(who):
    """Fill in the agents' vendor's fields, of which there are none: the first call makes the row."""
    return lambda w: connecting.prepare_connection(
        anew(w.installations["planner"]), "boards", values={}, by=getattr(w, who)
    )


def disconnect(who):
    return lambda w: connecting.disconnect(anew(w.connection), by=getattr(w, who))


def refreshed(w):
    """Do what a worker does once the vendor has answered."""
    return actions._refreshed(anew(w.connection), Tokens("t2", "r2", 3600))


def refused(w):
    return actions._refused(anew(w.connection), VendorError("invalid_grant", is_final=True))


def one_call(w):
    with issuing.token_for_one_call(anew(w.consents["account"].access), None) as token:
        return token


def install_draft(w):
    return installing.install_draft(anew(w.versions["draft"]), by=w.dev)


# --- versions ---


def leave_test_account(w):
    """Leave it as an owner who is removed from the team."""
    return end_teammate("dev")(w)


def on_version(action, name, *, by="dev", **fields):
    """Call an action on a version; `by` is a person of the world, or a reviewer's number."""

    def act(w):
        person = w.reviewers[by] if isinstance(by, int) else getattr(w, by)
        return getattr(publishing, action)(anew(w.versions[name]), by=person, **fields)

    return act


def take_package(w):
    version = anew(w.versions["custom_draft"])
    data = as_zip(good(version.app.client))
    report = packaging.take_package(version, data, keep_secrets=False, by=w.dev2)
    assert report.valid, report


def list_accounts(slug):
    return lambda w: publishing.list_accounts(anew(w.versions["custom"].app), accounts={slug}, by=w.dev)


def unlist_account(slug):
    return lambda w: publishing.unlist_account(anew(w.versions["custom"].app), account=slug, by=w.dev)


def create_version(w):
    return publishing.create_version(anew(w.versions["listed"].app), by=w.dev, **version_fields("3.0"))


def create_app(w):
    return publishing.create_app(w.team, slug="made", client=w.free_client, by=w.dev)


def set_client(number, which="free_client"):
    return lambda w: publishing.set_client(anew(w.apps[number]), getattr(w, which), by=w.dev)


# --- credentials ---


def client_of(w, name):
    return anew(w.sides[name].client) if name in w.sides else anew(getattr(w, name))


def confirm(who):
    return lambda w: succeeding.confirm_consent(anew(w.consents["left"]), by=getattr(w, who), shown=w.statements[who])


def suspend_client(name, who=0):
    return lambda w: credentials.suspend_client(client_of(w, name), reason="Harm", by=w.reviewers[who])


def lift_client(name, who=0):
    return lambda w: credentials.lift_client(
        client_of(w, name), reason="Well", secret_leaked=False, by=w.reviewers[who]
    )


def leak(w):
    """Suspend a client and lift it again, because a secret leaked."""
    row = w.sides["account"].client
    credentials.suspend_client(row, reason="Leak", by=w.reviewers[0])
    return credentials.lift_client(row, reason="Rotated", secret_leaked=True, by=w.reviewers[0])


def add_scope(name, who="dev"):
    return lambda w: credentials.add_scopes(client_of(w, name), scopes={CREATE: "More"}, by=getattr(w, who))


def change_client(description, who="dev"):
    return lambda w: credentials.change_client(
        client_of(w, "account"), redirect_uris=[REDIRECT_URI], description=description, by=getattr(w, who)
    )


def rotate_secret(name, overlap_hours, who="dev"):
    return lambda w: credentials.rotate_secret(client_of(w, name), overlap_hours=overlap_hours, by=getattr(w, who))


def end_secret(w):
    older = ClientSecret.objects.filter(client=w.rotated).order_by("pk").first()
    return credentials.end_secret(older, by=w.dev)


def make_product_secret(w):
    return credentials.make_product_secret(Product.objects.get(), by=None)


def set_base_address(w):
    return credentials.set_base_address(Product.objects.get(), base_address="https://desk.example", by=None)


def import_scopes(*names):
    """Import a document that publishes these scopes, each with a route of its own."""
    document = {
        "paths": {f"/{name}": {"get": {"security": [{"oauth2": [name]}]}} for name in names},
        "components": {
            "securitySchemes": {
                "oauth2": {
                    "type": "oauth2",
                    "flows": {"authorizationCode": {"scopes": {name: f"Do {name}" for name in names}}},
                    "x-scope-risk": dict.fromkeys(names, "low"),
                }
            }
        },
    }
    return lambda w: import_document(Product.objects.get(), document)


# --- people ---


def membership(w, who):
    return Membership.objects.get(pk=w.members[getattr(w, who).pk].pk)


def leave(who):
    return lambda w: memberships.end_membership(membership(w, who), by=None)


def demote(who):
    return lambda w: memberships.change_role(membership(w, who), role=Role.AGENT, by=None)


def suspend_account(w):
    return accounts.suspend_account(w.account, reason="Unpaid", by=None)


def lift_other_account(w):
    return accounts.lift_account(w.other_account, reason="Paid", by=None)


def add_member(w):
    return memberships.add_member(w.account, w.stranger, role=Role.AGENT, by=None)


def add_member_to_test_account(w):
    return memberships.add_member(w.team.test_account, w.stranger, role=Role.AGENT, by=None)


def add_teammate(w):
    return teams.add_teammate(Team.objects.get(pk=w.team.pk), w.stranger, role="owner", by=w.dev)


def teammate(w, who):
    return TeamMembership.objects.get(team=w.team, user=getattr(w, who))


def end_teammate(who, by="dev2"):
    return lambda w: teams.end_teammate(teammate(w, who), by=getattr(w, by))


def change_teammate(who, by="dev2"):
    return lambda w: teams.change_teammate(teammate(w, who), role="member", by=getattr(w, by))


def invite(who):
    return lambda w: inviting.invite(w.account, email="nia@example.com", role=Role.AGENT, by=getattr(w, who))


def accept(w):
    return inviting.accept_invitation(anew(w.invitation), by=w.stranger)


def resend_invitation(w):
    return inviting.resend_invitation(anew(w.invitation), by=w.admin2)


def revoke_invitation(who):
    return lambda w: inviting.revoke_invitation(anew(w.invitation), by=getattr(w, who))


def verify_team(w):
    return teams.verify_team(w.team, by=None)


def deactivate(who):
    return lambda w: people.deactivate_person(User.objects.get(pk=getattr(w, who).pk), by=None)


def remove_two_factor(w):
    return people.remove_two_factor(User.objects.get(pk=w.dev2.pk), by=None)


def change_staff(*, is_staff):
    return lambda w: people.change_staff(User.objects.get(pk=w.stranger.pk), is_staff=is_staff, groups=[], by=None)
