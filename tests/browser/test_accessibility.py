"""axe finds nothing on any page, at both widths, light and dark; what has the focus is seen, what is wrong is told."""

import re
from importlib import import_module

import pytest
from allauth.mfa.totp.internal.auth import hotp_value, yield_hotp_counters_from_time
from django.conf import settings as django_settings
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.urls import get_resolver

from portal.demo import mail as demo_mail
from portal.demo.management.commands.seed_demo import PASSWORD
from portal.foundation.mail import post
from portal.foundation.models import MailKind
from tests.mailing import outbox

from .looking import covers

pytestmark = pytest.mark.django_db(transaction=True)


def link_in_mail():
    return re.search(r"https?://\S+?(/accounts/\S+)", outbox()[-1].body)[1]


@covers("home", "account_login", "account_signup", "account_email_verification_sent", "account_confirm_email")
def test_signing_up_and_in(look, stranger):
    for path in ("/", "/accounts/login/", "/accounts/signup/"):
        stranger.goto(path)
        look(stranger)
    stranger.fill("[name=name]", "Nia New")
    stranger.fill("[name=email]", "nia@example.com")
    stranger.fill("[name=password1]", "short")
    stranger.click("main button")
    look(stranger)
    stranger.fill("[name=password1]", "a long enough password")
    stranger.click("main button")
    look(stranger)
    stranger.goto(link_in_mail())
    look(stranger)
    stranger.goto("/accounts/confirm-email/unknown/")
    look(stranger)
    stranger.goto("/accounts/login/")
    stranger.fill("[name=login]", "nia@example.com")
    stranger.fill("[name=password]", "wrong")
    stranger.click("main button")
    look(stranger)


@covers("account_reset_password", "account_reset_password_done", "account_reset_password_from_key",
        "account_reset_password_from_key_done", "account_inactive")  # fmt: skip
def test_a_forgotten_password(look, stranger):
    stranger.goto("/accounts/password/reset/")
    look(stranger)
    stranger.fill("[name=email]", "dev@example.com")
    stranger.click("main button")
    look(stranger)
    stranger.goto(link_in_mail())
    look(stranger)
    stranger.fill("[name=password1]", "short")
    stranger.fill("[name=password2]", "short")
    stranger.click("main button")
    look(stranger)
    stranger.fill("[name=password1]", "a long enough password")
    stranger.fill("[name=password2]", "a long enough password")
    stranger.click("main button")
    look(stranger)
    stranger.goto("/accounts/password/reset/key/1-unknown/")
    look(stranger)
    stranger.goto("/accounts/inactive/")
    look(stranger)


@covers("team-create", "client-add-scopes", "oauth-authorize", "mail-list", "mail-view", "mail-html")
def test_pages_that_say_what_went_wrong_and_the_mail_of_the_demo(look, stranger, calm, monkeypatch, settings, tmp_path):
    for path in ("/nothing/", "/oauth/authorize?client_id=x"):
        stranger.goto(path)
        look(stranger)
    dev = calm("dev@example.com")
    for path in ("/teams/new/", "/credentials/x/scopes/"):
        dev.open(path)
        look(dev.page)
    dev.context.clear_cookies(name="csrftoken")
    form = "document.body.innerHTML = '<form method=post action=/teams/new/></form>'; document.forms[0].submit()"
    with dev.page.expect_navigation():
        dev.page.evaluate(form)
    look(dev.page)
    settings.EMAIL_BACKEND, settings.EMAIL_FILE_PATH = "django.core.mail.backends.filebased.EmailBackend", tmp_path
    stranger.goto("/dev/mail/")
    look(stranger)
    link = {"password_reset_url": f"{settings.BASE_URL}/"}
    post(MailKind.ENDS, "account/email/password_reset_key.txt", to="dev@example.com", **link)
    outbox()
    stranger.reload()
    look(stranger)
    stranger.click("main a")
    look(stranger)
    stranger.goto(stranger.url + "html/")
    look(stranger)
    for problem in (SuspiciousOperation, PermissionDenied, ArithmeticError):

        def breaks(problem=problem):
            raise problem

        monkeypatch.setattr(demo_mail, "_mails", breaks)
        stranger.goto("/dev/mail/")
        look(stranger)


@covers("settings", "mail-settings", "account_email", "account_change_password", "account_logout", "mfa_index")
def test_settings(look, calm):
    ada = calm("admin@acme.example")
    for path in ("/settings/", "/settings/mail/", "/accounts/email/", "/accounts/password/change/", "/accounts/logout/",
                 "/accounts/2fa/"):  # fmt: skip
        ada.open(path)
        look(ada.page)
    ada.open("/settings/")
    ada.page.evaluate("document.querySelector('[name=name]').removeAttribute('maxlength')")
    ada.page.fill("[name=name]", "x" * 200)
    ada.press("Save")
    look(ada.page)
    ada.open("/accounts/email/")
    ada.page.fill("#id_email", "agent@acme.example")
    ada.press("Add email")
    look(ada.page)
    ada.open("/accounts/password/change/")
    ada.page.fill("[name=oldpassword]", "wrong")
    ada.page.fill("[name=password1]", "short")
    ada.page.fill("[name=password2]", "other")
    ada.press("Change password")
    look(ada.page)


def totp_code(secret):
    return f"{hotp_value(secret, next(iter(yield_hotp_counters_from_time()))):06d}"


@covers("mfa_activate_totp", "mfa_view_recovery_codes", "mfa_generate_recovery_codes", "mfa_deactivate_totp",
        "account_reauthenticate", "mfa_index", "mfa_reauthenticate", "mfa_authenticate")  # fmt: skip
def test_two_factor_authentication(look, calm, stranger):
    ada = calm("admin@acme.example")
    page = ada.page
    ada.open("/accounts/2fa/totp/activate/")
    page.fill("[name=password]", "wrong")
    ada.press("Confirm")
    look(page)
    page.fill("[name=password]", PASSWORD)
    ada.press("Confirm")
    look(page)
    page.fill("[name=code]", "000000")
    ada.press("Activate")
    look(page)
    page.fill("[name=code]", totp_code(page.input_value("#authenticator_secret")))
    ada.press("Activate")
    look(page)
    for path in ("recovery-codes/generate/", "", "totp/deactivate/", "reauthenticate/"):
        ada.open(f"/accounts/2fa/{path}")
        look(page)
    stranger.goto("/accounts/login/")
    stranger.fill("[name=login]", "admin@acme.example")
    stranger.fill("[name=password]", PASSWORD)
    stranger.click("main button")
    look(stranger)


@covers("home", "need-list", "client-list", "app-list", "installation-list", "authorization-list", "ledger-list")
def test_pages_with_nothing_on_them_yet(look, calm):
    dara = calm("dev2@example.com")
    for path in ("/", "/credentials/", "/apps/", "/needs/approved/"):
        dara.open(path)
        look(dara.page)
    stan = calm("staff@example.com")
    for path in ("/installations/", "/authorizations/", "/ledger/?event=client.suspended"):
        stan.open(path)
        look(stan.page)


@pytest.mark.parametrize(
    "javascript", [True, pytest.param(False, marks=pytest.mark.soak)], ids=["with JavaScript", "without"]
)
def test_the_theme_is_the_systems_unless_one_was_chosen(sit_down, javascript):
    stan = sit_down("staff@example.com", javascript=javascript, color_scheme="dark")
    dark, light = "rgb(16, 19, 25)", "rgb(245, 246, 250)"

    def background(path):
        stan.open(path)
        return stan.page.locator("body").evaluate("(body) => getComputedStyle(body).backgroundColor")

    assert background("/") == (dark if javascript else light), "only a choice is known without JavaScript"
    assert background("/admin/") == background("/")
    for choice in ("light", "dark"):
        stan.open("/settings/")
        stan.page.select_option("[name=theme]", choice)
        stan.press("Save")
        for system in ("light", "dark"):
            stan.page.emulate_media(color_scheme=system)
            assert background("/") == {"dark": dark, "light": light}[choice]
            assert background("/admin/") == {"dark": dark, "light": light}[choice]
    stan.open("/settings/")
    stan.page.select_option("[name=theme]", "system")
    stan.press("Save")
    stan.page.emulate_media(color_scheme="light")
    assert background("/") == light


def test_a_width_changes_no_colours_but_those_of_tables():
    """Hence a look measures contrast wide in light colours and narrow in dark ones, and only tables in all four."""
    css = (django_settings.BASE_DIR / "static/css/portal.css").read_text()
    width = r"@media \((?:min|max)-width[^{]*\{"
    blocks = re.findall(width + r"((?:[^{}]*\{[^{}]*\})*)\s*\}", css)
    assert len(blocks) == len(re.findall(width, css))
    rules = [rule for block in blocks for rule in re.findall(r"([^{}]+)\{([^{}]*)\}", block)]
    coloured = [selector.strip() for selector, style in rules if re.search(r"color|background|opacity|filter", style)]
    assert coloured and all(selector.startswith(".table-stack") for selector in coloured), coloured


# Addresses that have no page of their own, and why.
WITHOUT_A_PAGE = {
    "forms only, which lead to another page or to the one in 405.html": {
        "version-test", "vendor-secret-keep", "invitation-resend", "admin:logout",
        "installation-upgrades-itself", "version-take-back", "version-copy", "team-verification", "export-create",
        "client-try", "sandbox-reset",
    },
    "lead on at once": {"installation-connect", "invitation-open", "admin:login", "admin:password_change", "admin:view_on_site"},
    "answered to programs": {
        "oauth-token", "oauth-revoke", "oauth-introspect", "oauth-check", "oauth-server-metadata",
        "oauth-resource-metadata", "product-metadata", "sandbox-metadata", "ledger-keys", "sandbox-tickets", "sandbox-ticket", "healthz", "readyz", "admin:autocomplete",
        "admin:jsi18n", "api-run-request", "api-check-package", "guide-markdown", "llms",
    },
    "files": {"team-logo", "version-icon", "version-screenshot", "receipt-verifier", "app-starter", "postman-collection", "postman-environment", "ledger-export-csv", "ledger-export-json", "export-download", "mfa_download_recovery_codes", "version-package-download"},
    "parts of a page": {"version-package-preview", "receipt-progress", "export-progress"},
    "of windows without buttons": {"admin:credentials_scope_press", "admin:credentials_endpoint_press"},
    "never come to by people who have a password and sign in with it": {
        "account_set_password", "account_confirm_login_code", "admin:password_change_done",
    },
}  # fmt: skip


def _refused_in_admin(name):
    """True for what no window offers: deleting, adding but where WindowAdmin says so, and rows that nobody may see."""
    app, _, page = name.removeprefix("admin:").rpartition("_")
    adds = {"accounts_user", "accounts_account", "accounts_membership"}
    hidden = ("consent_", "oauth2_provider_")
    return app.startswith(hidden) or page == "delete" or (page == "add" and app not in adds)


def _names(resolver, namespace=""):
    for pattern in resolver.url_patterns:
        if hasattr(pattern, "url_patterns"):
            inner = f"{namespace}{pattern.namespace}:" if pattern.namespace else namespace
            yield from _names(pattern, inner)
        elif pattern.name:
            yield namespace + pattern.name


def test_no_page_is_left_out():
    files = (
        import_module(f"tests.browser.test_accessibility{part}")
        for part in ("", "_of_developers", "_of_members", "_of_users", "_of_versions", "_of_staff", "_of_components")
    )
    seen = set().union(*(getattr(test, "covers", ()) for file in files for test in vars(file).values()))
    without = set().union(*WITHOUT_A_PAGE.values())
    pages = {name for name in _names(get_resolver()) if not (name.startswith("admin:") and _refused_in_admin(name))}
    assert pages - without == seen
    assert not without - pages and not without & seen
