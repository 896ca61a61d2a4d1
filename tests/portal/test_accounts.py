"""People, accounts and teams: the actions, and their pages in Django admin."""

import re
from importlib import import_module

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret, hotp_value, yield_hotp_counters_from_time
from cryptography.fernet import Fernet
from django.apps import apps
from django.contrib.sessions.models import Session
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import DatabaseError, transaction
from django.test import Client as Browser

from marketplace.actions import publishing
from portal.accounts.actions import accounts, inviting, memberships, people, teams
from portal.accounts.actions.memberships import AlreadyMember, HasLeft, LastAdmin
from portal.accounts.models import REVIEWERS, Account, Invitation, Membership, Team, TeamMembership, User
from portal.accounts.rights import is_reviewer
from portal.foundation.mail import RETRIES
from portal.ledger.models import Entry
from tests import factories
from tests.clock import advance
from tests.factories import PASSWORD
from tests.mailing import no_mail_server, outbox

pytestmark = pytest.mark.django_db


def test_a_team_has_a_test_account_that_its_owners_administer(cast):
    team = factories.team_of(cast.dev)
    assert team.test_account.test_of_team == team
    assert Membership.objects.admins().filter(account=team.test_account, user=cast.dev).exists()
    for role, admins in (("member", 1), ("owner", 2)):
        teams.add_teammate(team, factories.person(role.title()), role=role, by=cast.dev)
        assert Membership.objects.admins().filter(account=team.test_account).count() == admins
    with pytest.raises(AlreadyMember):
        teams.add_teammate(team, cast.dev, role="member", by=cast.dev)


def test_a_person_added_by_staff_can_start_a_team_once(cast, browse):
    ada = browse(cast.admin)
    assert "Start a team" in ada.get("/settings/").content.decode()
    assert ada.get("/teams/new/").status_code == 405
    for _time in range(2):
        assert ada.post("/teams/new/")["Location"] == "/credentials/"
    assert TeamMembership.objects.filter(user=cast.admin).count() == 1
    assert "/accounts/login/" in Browser().post("/teams/new/")["Location"]


def test_an_accounts_short_name_is_lower_case_and_found_however_it_is_typed(cast):
    account = accounts.create_account(slug="Initech", name="X", by=None)
    with pytest.raises(ValidationError):
        accounts.create_account(slug="INITECH", name="X", by=None)
    draft = factories.app(cast.dev, factories.client(cast.dev)[0])
    app = publishing.publish_custom(draft, accounts={" InitecH "}, by=cast.dev).app
    assert account.slug == "initech" and app.custom_accounts == ["initech"]


@pytest.mark.parametrize("slug", ["", "With Space", "x" * 60])
def test_an_accounts_slug_is_unique_and_never_changes(cast, slug):
    with pytest.raises(ValidationError):
        accounts.create_account(slug=slug, name="X", by=None)
    with pytest.raises(ValidationError):
        accounts.create_account(slug=cast.acme.slug, name="X", by=None)
    for change in (lambda: Account.objects.update(slug="x"), cast.acme.delete, Account.objects.all().delete):
        with pytest.raises((DatabaseError, Exception)), transaction.atomic():
            change()
    assert Account.objects.filter(pk=cast.acme.pk, slug=cast.acme.slug).exists()


def test_a_person_has_one_live_membership_in_an_account(cast):
    with pytest.raises(AlreadyMember):
        memberships.add_member(cast.acme, cast.agent, role="admin", by=None)
    with pytest.raises(DatabaseError), transaction.atomic():
        Membership.objects.create(account=cast.acme, user=cast.agent, role="agent")


def test_an_ended_membership_stays_ended(cast):
    """T4"""
    membership = memberships.end_membership(cast.acme.memberships.get(user=cast.agent), by=None)
    for act in (
        lambda: memberships.end_membership(membership, by=None),
        lambda: memberships.change_role(membership, role="admin", by=None),
    ):
        with pytest.raises(HasLeft):
            act()
    for change in (lambda: Membership.objects.filter(pk=membership.pk).update(ended_at=None), membership.delete):
        with pytest.raises(DatabaseError), transaction.atomic():
            change()


def test_an_account_keeps_an_admin(cast):
    only = cast.acme.memberships.get(user=cast.admin)
    for act in (
        lambda: memberships.end_membership(only, by=None),
        lambda: memberships.change_role(only, role="agent", by=None),
    ):
        with pytest.raises(LastAdmin):
            act()
    memberships.change_role(cast.acme.memberships.get(user=cast.agent), role="admin", by=cast.admin)
    memberships.end_membership(only, by=None)


def test_an_account_is_suspended_once_and_lifted_once(cast):
    account = accounts.suspend_account(cast.acme, reason="Unpaid", by=None)
    with pytest.raises(accounts.AlreadySuspended):
        accounts.suspend_account(account, reason="Again", by=None)
    account = accounts.lift_account(account, reason="Paid", by=None)
    with pytest.raises(accounts.NotSuspended):
        accounts.lift_account(account, reason="Again", by=None)
    entries = Entry.objects.filter(chain=account.chain_name, event__startswith="account.").order_by("sequence")
    assert [entry.event for entry in entries] == ["account.created", "account.suspended", "account.lifted"]


def test_a_team_is_verified_once_and_a_person_deactivated_once(cast):
    team = teams.verify_team(factories.team_of(cast.dev), by=None)
    with pytest.raises(teams.AlreadyVerified):
        teams.verify_team(team, by=None)
    user = people.deactivate_person(cast.dev, by=None)
    with pytest.raises(people.AlreadyDeactivated):
        people.deactivate_person(user, by=None)


def test_a_deactivated_person_is_signed_out_at_once(cast, browse):
    dev = browse(cast.dev)
    assert dev.get("/credentials/").status_code == 200
    people.deactivate_person(cast.dev, by=None)
    assert dev.get("/credentials/").status_code == 302
    assert sign_in(Browser(), cast.dev).status_code == 302 and dev.get("/settings/").status_code == 302


# --- signing in ---


def sign_in(browser, user, path="/accounts/login/", **more):
    return browser.post(path, {"login": user.email, "password": PASSWORD, **more})


def test_signing_in_redirects_only_within_the_portal(cast):
    assert sign_in(Browser(), cast.dev, "/accounts/login/?next=/credentials/")["Location"] == "/credentials/"
    for outside in ("https://evil.example/", "//evil.example/", "/\\evil.example"):
        answer = sign_in(Browser(), cast.dev, "/accounts/login/?next=" + outside, next=outside)
        assert "evil" not in answer.get("Location", "") or answer["Location"].startswith("/%5C")


def test_a_wrong_password_and_an_unknown_person_get_the_same_message(cast):
    wrong = Browser().post("/accounts/login/", {"login": cast.dev.email, "password": "wrong one here"})
    unknown = Browser().post("/accounts/login/", {"login": "nobody@example.com", "password": "wrong one here"})
    message = "The email address and/or password you specified are not correct"
    assert message in wrong.content.decode() and message in unknown.content.decode()


def totp_code(secret):
    return f"{hotp_value(secret, next(iter(yield_hotp_counters_from_time()))):06d}"


def test_a_second_factor_is_required_and_staff_can_remove_a_lost_one(cast, browse):
    secret = generate_totp_secret()
    TOTP.activate(cast.dev, secret)
    browser = Browser()
    assert sign_in(browser, cast.dev)["Location"].startswith("/accounts/2fa/authenticate/")
    assert browser.get("/credentials/").status_code == 302
    assert browser.post("/accounts/2fa/authenticate/", {"code": "000000"}).status_code == 200
    browser.post("/accounts/2fa/authenticate/", {"code": totp_code(secret)})
    assert browser.get("/credentials/").status_code == 200
    assert secret not in str(list(Entry.objects.values()))
    sue = browse(factories.person("Sue", is_staff=True, is_superuser=True))
    url = f"/admin/accounts/user/{cast.dev.pk}/press/two-factor/"
    assert sue.post(url).status_code == 302 and not Authenticator.objects.exists()
    assert (
        "This cannot be done now. The page shows the current state." in sue.post(url, follow=True).content.decode()
    ), "the button disappears with the second factor"


def test_secrets_of_second_factors_are_stored_encrypted(cast, browse, settings):
    """Activated on its page. The first of FIELD_ENCRYPTION_KEYS encrypts, all of them decrypt."""
    dev = browse(cast.dev)
    dev.post("/accounts/reauthenticate/", {"password": PASSWORD})
    page = dev.get("/accounts/2fa/totp/activate/").content.decode()
    secret = re.search(r'id="authenticator_secret"[^>]*value="(\w+)"', page)[1]
    dev.post("/accounts/2fa/totp/activate/", {"code": totp_code(secret)})
    codes = RecoveryCodes(Authenticator.objects.get(type="recovery_codes"))
    unused = codes.get_unused_codes()
    stored = str(list(Authenticator.objects.values())) + str([each.get_decoded() for each in Session.objects.all()])
    assert len(unused) == 10 and not [each for each in (secret, *unused) if each in stored]
    assert not re.search(r"'[0-9a-f]{80}'", stored), "the seed of the recovery codes"
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode(), *settings.FIELD_ENCRYPTION_KEYS]
    assert codes.get_unused_codes() == unused
    browser = Browser()
    sign_in(browser, cast.dev)
    browser.post("/accounts/2fa/authenticate/", {"code": unused[0]})
    assert browser.get("/credentials/").status_code == 200


def test_a_migration_encrypts_earlier_second_factors(cast):
    secret = generate_totp_secret()
    totp = TOTP.activate(cast.dev, secret)
    Authenticator.objects.update(data={"secret": secret})
    migration = import_module("portal.accounts.migrations.0004_encrypt_second_factors").Migration
    migration.operations[0].code(apps, None)
    totp.instance.refresh_from_db()
    assert totp.instance.data.keys() == {"secret"} and secret not in str(totp.instance.data)
    assert totp.validate_code(totp_code(secret))


def test_django_admin_uses_the_same_sign_in_with_its_second_factor(cast):
    assert Browser().get("/admin/")["Location"].startswith("/admin/login/")
    answer = Browser().get("/admin/login/?next=/admin/")
    assert answer["Location"].startswith("/accounts/login/")
    assert Browser().post("/admin/login/", {"username": cast.dev.email, "password": PASSWORD}).status_code == 302


# --- staff's pages ---


@pytest.fixture
def sue(browse):
    return browse(factories.person("Sue", is_staff=True, is_superuser=True))


def test_staff_create_people_accounts_and_memberships_through_the_same_actions(sue, cast):
    made = sue.post("/admin/accounts/account/add/", {"slug": "initech", "name": "Initech"})
    assert made.status_code == 302
    account = Account.objects.get(slug="initech")
    person = {"email": "Bill@initech.example", "name": "Bill", "password": PASSWORD}
    assert sue.post("/admin/accounts/user/add/", person).status_code == 302
    bill = User.objects.get(email="bill@initech.example")
    assert sue.post("/admin/accounts/membership/add/", {"user": bill.pk, "account": account.pk, "role": "admin"}).status_code == 302  # fmt: skip
    assert sign_in(Browser(), bill)["Location"] == "/"
    events = set(Entry.objects.values_list("event", flat=True))
    assert {"account.created", "person.created", "member.added"} <= events
    again = sue.post("/admin/accounts/account/add/", {"slug": "initech", "name": "Initech"})
    assert again.status_code == 200 and "already exists" in again.content.decode()


def test_a_second_membership_in_an_account_is_refused_with_a_message(sue, cast):
    answer = sue.post("/admin/accounts/membership/add/", {"user": cast.agent.pk, "account": cast.acme.pk, "role": "agent"}, follow=True)  # fmt: skip
    assert "already belongs to" in answer.content.decode()
    assert cast.agent.memberships.filter(account=cast.acme).count() == 1


def test_staffs_buttons_ask_first_and_run_the_action(sue, cast):
    membership = cast.acme.memberships.get(user=cast.agent)
    url = f"/admin/accounts/membership/{membership.pk}/press/end/"
    assert sue.get(url).status_code == 200 and Membership.objects.filter(pk=membership.pk, ended_at=None).exists()
    assert sue.post(url).status_code == 302
    membership.refresh_from_db()
    before = membership.ended_at
    assert before and "cannot be done" in sue.post(url, follow=True).content.decode()
    membership.refresh_from_db()
    assert membership.ended_at == before
    last = cast.acme.memberships.get(user=cast.admin)
    assert "needs an admin" in sue.post(f"/admin/accounts/membership/{last.pk}/press/end/").content.decode()
    suspend = f"/admin/accounts/account/{cast.acme.pk}/press/suspend/"
    assert sue.post(suspend).status_code == 422 and sue.post(suspend, {"reason": "Unpaid"}).status_code == 302


def test_staff_appoint_reviewers(sue, cast):
    from django.contrib.auth.models import Group

    group, _made = Group.objects.get_or_create(name=REVIEWERS)
    url = f"/admin/accounts/user/{cast.other_dev.pk}/press/staff/"
    assert sue.post(url, {"is_staff": "on", "groups": [group.pk]}).status_code == 302
    user = User.objects.get(pk=cast.other_dev.pk)
    assert is_reviewer(user) and not user.is_superuser
    assert "checked" in sue.get(url).content.decode()
    sue.post(url, {})
    user.refresh_from_db()
    assert not user.is_staff and not is_reviewer(user)
    assert Entry.objects.filter(event="person.staff_changed").count() == 2


def test_only_a_superuser_can_press_those_buttons(cast, browse):
    team = factories.team_of(cast.dev)
    staff = factories.person("Stan", is_staff=True)
    urls = [
        f"/admin/accounts/user/{cast.dev.pk}/press/staff/",
        f"/admin/accounts/user/{cast.dev.pk}/press/deactivate/",
        f"/admin/accounts/account/{cast.acme.pk}/press/suspend/",
        f"/admin/accounts/team/{team.pk}/press/verify/",
    ]
    for who, status in ((staff, 403), (factories.reviewer(), 403), (cast.dev, 302), (cast.admin, 302)):
        assert {browse(who).post(url, {"reason": "x", "is_staff": "on"}).status_code for url in urls} == {status}
    assert {Browser().post(url).status_code for url in urls} == {302}
    assert not Team.objects.exclude(verified_at=None).exists() and User.objects.get(pk=cast.dev.pk).is_active


def test_the_first_staff_user_signs_in_without_confirming_by_mail(client, db):
    call_command("createsuperuser", "--noinput", email="root@example.com", verbosity=0)
    root = User.objects.get(email="root@example.com")
    root.set_password(PASSWORD)
    root.save()
    answer = client.post("/accounts/login/", {"login": root.email, "password": PASSWORD})
    assert answer["Location"] == "/"
    assert client.get("/admin/").status_code == 200
    assert not outbox()


def test_an_unavailable_mail_server_delays_a_mail_and_breaks_nothing(client, db, caplog):
    new = {"email": "new@example.com", "name": "New", "password1": PASSWORD}
    with no_mail_server():
        assert client.post("/accounts/signup/", new, follow=True).status_code == 200
        assert not outbox()
    assert "mail_not_sent" in caplog.text
    assert "/accounts/confirm-email/" not in caplog.text and "new@example.com" not in caplog.text
    advance(RETRIES[0])
    assert [message.to for message in outbox()] == [["new@example.com"]]


def test_mails_about_an_address_say_what_somebody_did_and_where_to_continue(client, cast):
    given = {"name": "Ann", "password1": "a-long-password-7"}
    for path, email, subject, link in (
        ("/accounts/password/reset/", cast.admin.email, "Choose a new password", "/accounts/password/reset/key/"),
        ("/accounts/password/reset/", "nobody@a.example", "There is no account", "/accounts/signup/"),
        ("/accounts/signup/", cast.admin.email, "You already have an account", "/accounts/password/reset/"),
        ("/accounts/signup/", "ann@a.example", "Confirm your email address", "/accounts/confirm-email/"),
    ):
        assert client.post(path, given | {"email": email}).status_code == 302
        mail = outbox().pop()
        assert mail.to == [email] and mail.subject.startswith(subject)
        assert mail.body.startswith("Someone ") and link in mail.body and "If it was not you, ignore" in mail.body


def test_the_mail_that_confirms_an_address_contains_no_strangers_text(client, db):
    form = {
        "email": "vic@example.com",
        "name": "Locked! Visit http://evil.example/",
        "password1": PASSWORD,
    }
    client.post("/accounts/signup/", form)
    assert "evil" not in outbox()[0].body and "/accounts/confirm-email/" in outbox()[0].body


@pytest.mark.parametrize(
    "email", ['"a\vX-Else:1"@example.com', '"a\v<h1>Else</h1>"@example.com', "a@exam\u200bple.com"]
)
def test_an_address_cannot_inject_lines_into_its_mails(cast, client, browse, email):
    """Lines in a header would continue into the text below it (RFC 5322 section 2.2)."""
    new = {"email": email, "name": "New", "password1": PASSWORD}
    assert client.post("/accounts/signup/", new).status_code == 200
    assert browse(cast.admin).post("/accounts/email/", {"email": email, "action_add": ""}).status_code == 200
    for act in (
        lambda: people.create_person(email=email, name="New", password=PASSWORD, by=None),
        lambda: inviting.invite(cast.acme, email=email, role="agent", by=cast.admin),
    ):
        with pytest.raises(ValidationError), transaction.atomic():
            act()
    assert not outbox() and not EmailAddress.objects.filter(email=email).exists()
    assert not User.objects.filter(email=email).exists() and not Invitation.objects.exists()


def test_nobody_can_guess_a_password_hash_through_the_staffs_list(browse, cast):
    sue = browse(factories.person("Sue", is_staff=True, is_superuser=True))
    answer = sue.get(f"/admin/accounts/user/?password__startswith={cast.dev.password[:8]}")
    assert answer.status_code in (302, 400) and cast.dev.email not in answer.content.decode()
