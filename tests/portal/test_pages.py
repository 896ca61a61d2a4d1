"""Home, settings, signing up, the demo's mail, health, and the error pages."""

import os
import re

import pytest
from django.core.mail import EmailMessage, get_connection
from django.db import OperationalError
from django.test import Client as Browser
from django.test import override_settings
from django.urls import reverse

from portal import views
from portal.accounts.models import Team, TeamMembership, User
from tests import factories
from tests.browsing import squeeze
from tests.mailing import outbox
from tests.worlds import signed_in

SIGN_UP = {
    "name": "Nia New",
    "email": "nia@example.com",
    "password1": "a long enough one",
}


def text(response):
    return response.content.decode()


def test_home_tells_a_stranger_what_this_is(client, db):
    page = client.get("/")
    assert page.status_code == 200
    assert reverse("account_login") in text(page) and reverse("account_signup") in text(page)
    assert reverse("installation-list") not in text(page)


def test_home_shows_people_of_each_kind_what_they_can_do(cast, browse):
    admin, developer = text(browse(cast.admin).get("/")), text(browse(cast.dev).get("/"))
    assert f"?account={cast.acme.slug}" in admin and f"?account={cast.acme.slug}" not in developer
    assert "Install it, and agree to exactly what it may do." in admin and reverse("client-create") in developer
    assert reverse("admin:index") not in admin
    assert reverse("admin:index") in text(browse(factories.reviewer()).get("/"))


def test_home_counts_only_installations_that_were_agreed_to(cast, browse, installed):
    assert "0 apps installed" in text(browse(cast.admin).get("/"))
    factories.agree(installed.client, cast.acme, cast.admin)
    assert "1 app installed" in text(browse(cast.admin).get("/"))


def test_navigation_shows_developers_pages_to_team_members_only(cast, browse):
    TeamMembership.objects.filter(user=cast.agent).update(ended_at="2026-01-01T00:00Z")
    page = text(browse(cast.agent).get("/marketplace/"))
    assert reverse("client-list") not in page and reverse("app-list") not in page
    assert reverse("installation-list") in page
    assert reverse("client-list") in text(browse(cast.dev).get("/marketplace/"))


def test_settings_require_signing_in_and_link_to_oauth_credentials(cast, client, browse):
    assert client.get("/settings/").url.startswith(reverse("account_login"))
    page = text(browse(cast.dev).get("/settings/"))
    for name in ("client-list", "account_email", "account_change_password", "mfa_index"):
        assert reverse(name) in page
    assert "Change password" in page


def test_settings_change_name_and_time_zone(cast, browse):
    browser = browse(cast.dev)
    assert browser.post("/settings/", {"name": "Devi", "time_zone": "Europe/Berlin"}).status_code == 302
    cast.dev.refresh_from_db()
    assert (cast.dev.name, cast.dev.time_zone) == ("Devi", "Europe/Berlin")


@pytest.mark.parametrize("zone", ["Europe", "Mars/Base", "../etc/passwd", ""])
def test_times_are_in_the_portals_time_zone_if_a_persons_is_invalid(cast, browse, zone):
    User.objects.filter(pk=cast.dev.pk).update(time_zone=zone)
    assert browse(cast.dev).get("/settings/").status_code == 200


@pytest.mark.parametrize("data", [{"name": "x" * 81, "time_zone": "UTC"}, {"name": "a", "time_zone": "Mars/Base"}])
def test_settings_refuse_invalid_values_and_change_nothing(cast, browse, data):
    response = browse(cast.dev).post("/settings/", data)
    assert response.status_code == 422 and "is-invalid" in text(response)
    assert User.objects.get(pk=cast.dev.pk).name == cast.dev.name


def test_settings_answer_other_methods_with_405(cast, browse):
    assert browse(cast.dev).delete("/settings/").status_code == 405


def test_signing_up_creates_a_team_and_the_mails_one_button_confirms_and_signs_in(client, db):
    assert client.post(reverse("account_signup"), SIGN_UP).status_code == 302
    user = User.objects.get(email="nia@example.com")
    assert user.name == "Nia New"
    assert user.team_memberships.get().team.test_account.memberships.get().user == user
    assert client.get("/settings/").status_code == 302
    link = re.search(r"https?://\S+(/accounts/confirm-email/\S+)", outbox()[0].body)[1]
    page = client.get(link)
    assert "Confirm and sign in" in page.content.decode()
    assert client.get("/settings/").status_code == 302, "opening it changes nothing"
    assert client.post(link)["Location"] == "/"
    assert client.post(link).status_code == 404, "it works once"


def test_in_any_other_browser_the_mails_link_only_confirms(client, cast):
    """Whoever signed up with another's address is not let in by the other's click, nor are others signed out by a link."""
    client.post(reverse("account_signup"), SIGN_UP)
    link = re.search(r"https?://\S+(/accounts/confirm-email/\S+)", outbox()[0].body)[1]
    for other in (Browser(), signed_in(cast.dev)):
        before = other.session.get("_auth_user_id")
        assert "Confirm and sign in" not in other.get(link).content.decode()
        assert other.session.get("_auth_user_id") == before
    assert Browser().post(link)["Location"] == "/accounts/login/"
    assert client.get("/settings/").status_code == 302


def test_signing_up_with_a_known_address_looks_the_same_and_creates_nothing(client, cast):
    teams = Team.objects.count()
    known = client.post(reverse("account_signup"), {**SIGN_UP, "email": cast.dev.email})
    new = Browser().post(reverse("account_signup"), SIGN_UP)
    assert (known.status_code, known.url) == (new.status_code, new.url)
    assert Team.objects.count() == teams + 1
    assert "already" in outbox()[0].body or "exists" in outbox()[0].body


def test_every_sign_in_page_has_our_design(cast, client, browse):
    for name in ("account_login", "account_signup", "account_reset_password", "account_reset_password_done"):
        page = client.get(reverse(name))
        assert page.status_code == 200 and "css/portal.css" in text(page)
    browser = browse(cast.dev)
    for name in ("account_email", "account_change_password", "account_logout", "mfa_index"):
        page = browser.get(reverse(name))
        assert page.status_code == 200 and "css/portal.css" in text(page)


def test_no_page_has_inline_scripts_or_styles(cast, client, browse):
    browser = browse(cast.dev)
    pages = [client.get(path) for path in ("/", "/accounts/login/", "/accounts/signup/", "/nowhere/")]
    pages += [browser.get(path) for path in ("/", "/settings/", "/accounts/email/", "/accounts/2fa/")]
    for page in pages:
        inline = re.search(r"<style|\sstyle=|\son\w+=\"|<script(?![^>]*(\ssrc=|application/json))", text(page))
        assert not inline, page.request["PATH_INFO"]
        assert not re.search(r"(src|<link[^>]*href)=\"(https?:)?//", text(page))


def test_an_unknown_url_gets_our_404(client, db):
    page = client.get("/nowhere/?a=1&b=2")
    assert page.status_code == 404 and "Page not found" in text(page)
    assert "next=%2Fnowhere%2F%3Fa%3D1%26b%3D2" in text(page)


def test_a_form_without_its_csrf_token_gets_our_403(cast):
    page = Browser(enforce_csrf_checks=True).post(reverse("account_login"), {"login": "a"})
    assert page.status_code == 403 and "Submit the form again" in text(page)


def test_the_other_error_pages_say_what_to_do(rf, db):
    from django.views import defaults

    request = rf.get("/")
    for response, status in (
        (defaults.bad_request(request, None), 400),
        (defaults.permission_denied(request, Exception()), 403),
        (views.server_error(request), 500),
    ):
        assert response.status_code == status and "Go to the portal" in text(response)


def test_healthz_answers_without_the_database(client):
    response = client.get("/healthz")
    assert (response.status_code, response.content) == (200, b"ok\n")


def test_readyz_reports_the_database_and_redis(client, db):
    assert client.get("/readyz").json() == {"database": "ok", "redis": "ok"}


def test_readyz_is_200_without_redis(client, db, settings):
    cache = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1/0"}
    settings.CACHES = {"default": cache}
    response = client.get("/readyz")
    assert response.status_code == 200 and response.json() == {"database": "ok", "redis": "away"}


def test_readyz_is_503_without_the_database(client, db, monkeypatch):
    def away():
        raise OperationalError("away")

    with monkeypatch.context() as patch:
        patch.setattr(views.connection, "cursor", away)
        response = client.get("/readyz")
    assert response.status_code == 503 and response["Retry-After"]


@pytest.fixture
def mail_folder(settings, tmp_path):
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    settings.EMAIL_FILE_PATH = tmp_path
    return tmp_path


def test_the_demos_mail_can_be_read_newest_first(client, db, mail_folder):
    assert "No emails yet" in text(client.get("/dev/mail/"))
    for number in (1, 2):
        EmailMessage(f"Mail {number}", "Open http://127.0.0.1/x/ & <b>go</b>", to=["nia@example.com"]).send()
        for path in mail_folder.glob("*.log"):
            # Files written within one tick of the kernel's clock have equal times.
            os.utime(path, ns=(0, path.stat().st_mtime_ns - 10**9))
    page = text(client.get("/dev/mail/"))
    assert page.index("Mail 2") < page.index("Mail 1")
    one = text(client.get(re.search(r'href="(/dev/mail/[^"]+/)"', page)[1]))
    assert 'href="http://127.0.0.1/x/"' in one and "<b>go</b>" not in one
    assert client.get("/dev/mail/other/").status_code == 404


def test_the_last_of_several_mails_in_one_file_is_the_newest(client, db, mail_folder):
    """Two mails sent within a second share a file."""
    get_connection().send_messages([EmailMessage(f"Mail {number}", to=["nia@example.com"]) for number in (1, 2)])
    assert len([*mail_folder.iterdir()]) == 1
    page = text(client.get("/dev/mail/"))
    assert page.index("Mail 2") < page.index("Mail 1")
    newest = text(client.get(re.search(r'href="(/dev/mail/[^"]+/)"', page)[1]))
    assert "Mail 2" in newest and "Mail 1" not in newest


def test_mail_is_not_shown_outside_the_demo(client, db, mail_folder):
    assert "Read its emails" in text(client.get("/"))
    with override_settings(DEMO=False):
        assert client.get("/dev/mail/").status_code == 404
        assert "Read its emails" not in text(client.get("/"))
    with override_settings(EMAIL_BACKEND="django.core.mail.backends.locmem.EmailBackend"):
        assert client.get("/dev/mail/").status_code == 404


def test_a_theme_is_chosen_in_settings_and_works_without_javascript(cast, browse, client):
    browser = browse(cast.dev)
    profile = {"name": "Devi", "time_zone": "UTC"}
    assert 'data-bs-theme="light"' in text(browser.get("/settings/"))
    assert browser.post("/settings/", {**profile, "theme": "dark"}).status_code == 302
    page = text(browser.get("/settings/"))
    assert 'data-bs-theme="dark"' in page and '<option value="dark" selected>' in page
    browser.logout()
    browser.cookies["theme"] = "dark"
    assert 'data-bs-theme="dark"' in text(browser.get("/")), "it applies even when signed out"
    client.cookies["theme"] = "'><script>"
    assert 'data-bs-theme="light"' in text(client.get("/")) and "<script>'" not in text(client.get("/"))
    browser = browse(cast.dev)
    browser.cookies["theme"] = "dark"
    assert browser.post("/settings/", profile).status_code == 302
    assert browser.cookies["theme"].value == "dark", "a form without the question changes nothing"
    browser.post("/settings/", {**profile, "theme": "system"})
    assert not browser.cookies["theme"].value and 'data-bs-theme="light"' in text(browser.get("/settings/"))
    assert browser.post("/settings/", {**profile, "theme": "neon"}).status_code == 422


@pytest.mark.parametrize(
    ("path", "texts"),
    [
        ("email", ["Email addresses", "Add email address", "Make primary", "Add email"]),
        ("password/change", ["Change password", "Current password", "New password (again)"]),
        ("2fa", ["Two-factor authentication", "Recovery codes"]),
    ],
)
def test_headings_labels_and_buttons_of_the_packages_pages_are_in_sentence_case(cast, browse, path, texts):
    page = squeeze(browse(cast.admin).get(f"/accounts/{path}/").content.decode())
    assert not [text for text in texts if text not in page]
    titles = re.findall(r">\s*((?:[A-Z][a-z]+[ -])+[A-Z][a-z]+)\s*<", page)
    assert {*titles} <= {"App Management Portal"}, titles
