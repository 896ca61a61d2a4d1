"""Whatever a person has to do before they can agree, they come back to what the app asked them for (RFC 6749 section 4.1)."""

import re
import secrets
from html import unescape
from urllib.parse import urlencode, urljoin, urlsplit

import pytest
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret, hotp_value, yield_hotp_counters_from_time
from django.test import Client as Browser

from tests.browsing import squeeze
from tests.factories import PASSWORD, REDIRECT_URI
from tests.mailing import outbox
from tests.oauth import answer, authorize_url, pkce
from tests.worlds import shared

pytestmark = pytest.mark.django_db
NEW = "another horse battery"


class Person:
    """Somebody at a browser who follows links and redirects inside the portal and fills in forms."""

    def __init__(self):
        self.http = Browser(enforce_csrf_checks=True)

    def open(self, url):
        return self._follow(self.http.get(self._here(url)), url)

    def press(self, text):
        """Follow the link that says `text`."""
        return self.open(unescape(re.search(rf'<a [^>]*href="([^"]+)"[^>]*>{text}</a>', self.text)[1]))

    def send(self, button, **fields):
        """Fill in the form with this button, and press it."""
        forms = re.findall(r"<form.*?</form>", self.text, re.S)
        form = next((each for each in forms if f">{button}</button>" in each), None)
        assert form, (self.url, self.text[self.text.index("<main") :])
        hidden = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form)
        action = re.search(r'<form[^>]* action="([^"]+)"', form)
        url = unescape(action[1]) if action else self.url
        data = {name: unescape(value) for name, value in hidden} | fields
        return self._follow(self.http.post(self._here(url), data, headers={"referer": self.url}), url)

    def sign_in(self, email, password=PASSWORD):
        return self.send("Sign in", login=email, password=password)

    def agree(self):
        return self.send("Agree", decision="agree")

    def _here(self, url):
        """A mail's link names the address at which people reach the portal."""
        parts = urlsplit(url)
        return parts._replace(scheme="", netloc="").geturl()

    def _follow(self, response, url):
        self.url = urljoin("http://testserver", self._here(url))
        if response.status_code in (302, 303) and not response["Location"].startswith(REDIRECT_URI):
            return self.open(urljoin(self.url, response["Location"]))
        self.response, self.text = response, squeeze(response.content.decode())
        return self


def mailed_link():
    return re.search(r"https?://\S+", outbox()[-1].body)[0]


@shared
def asked(external):
    """An authorization request, whose state is as long as the portal takes."""
    external.state = "x&y/" * 1000
    external.verifier, challenge = pkce()
    external.url = authorize_url(external.client, challenge, state=external.state)
    return external


def connected(person, app):
    """True where the app was answered with a code for what it asked, and gets tokens for it."""
    told = answer(person.response)
    assert told["state"] == app.state and "error" not in told
    assert app.exchange(told["code"], app.verifier).status_code == 200
    return True


@pytest.mark.parametrize("elsewhere", [False, True], ids=["same browser", "mail read elsewhere"])
def test_a_forgotten_password_leads_on_to_what_the_app_asked(asked, cast, elsewhere):
    person = Person().open(asked.url).press("Forgot your password\\?").send("Send link", email=cast.admin.email)
    assert "Check your email" in person.text
    assert "callback" not in outbox()[-1].body, "nothing that came with the request is legible in the mail"
    person = Person() if elsewhere else person
    person.open(mailed_link()).send("Change password", password1=NEW, password2=NEW)
    assert connected(person.sign_in(cast.admin.email, NEW).agree(), asked)


def test_a_used_reset_link_leads_to_another_that_still_knows_the_way(asked, cast):
    Person().open(asked.url).press("Forgot your password\\?").send("Send link", email=cast.admin.email)
    link = mailed_link()
    Person().open(link).send("Change password", password1=NEW, password2=NEW)
    person = Person().open(link).press("Request a new link").send("Send link", email=cast.admin.email)
    person.open(mailed_link()).send("Change password", password1=PASSWORD, password2=PASSWORD)
    assert connected(person.sign_in(cast.admin.email).agree(), asked)


def test_the_way_back_from_a_forgotten_password_keeps_what_the_app_asked(asked, cast):
    person = Person().open(asked.url).press("Forgot your password\\?")
    assert connected(person.press("Back to sign in").sign_in(cast.admin.email).agree(), asked)
    person = Person().open(asked.url).press("Forgot your password\\?").send("Send link", email=cast.admin.email)
    assert person.press("Sign in").sign_in(cast.admin.email).url == "http://testserver" + asked.url


@pytest.mark.parametrize("elsewhere", [False, True], ids=["same browser", "mail read elsewhere"])
@pytest.mark.parametrize("button", ["Sign up", "the page's own"])
def test_signing_up_leads_on_to_what_the_app_asked(asked, cast, elsewhere, button):
    person = Person().open(asked.url)
    if button == "Sign up":
        person.press("Sign up")
    else:
        person.open(unescape(re.search(r'New here\? <a href="([^"]+)"', person.text)[1]))
    person.send("Sign up", name="Nia", email="nia@example.com", password1=NEW)
    assert "Confirm your email address" in person.text
    assert "callback" not in outbox()[-1].body
    if elsewhere:
        person = Person().open(mailed_link()).send("Confirm").sign_in("nia@example.com", NEW)
    else:
        person.open(mailed_link()).send("Confirm and sign in")
    # With a test account of her own alone, she agrees for that.
    assert connected(person.agree(), asked)


def test_a_confirmation_that_is_sent_again_at_sign_in_leads_on_too(asked, cast):
    Person().open("/accounts/signup/").send("Sign up", name="Nia", email="nia@example.com", password1=NEW)
    person = Person().open(asked.url).sign_in("nia@example.com", NEW)
    assert "Confirm your email address" in person.text and len(outbox()) == 2
    assert connected(Person().open(mailed_link()).send("Confirm").sign_in("nia@example.com", NEW).agree(), asked)


def test_signing_up_with_a_known_address_leads_on_through_its_mail(asked, cast):
    person = Person().open(asked.url).press("Sign up")
    person.send("Sign up", name="Ada", email=cast.admin.email, password1=NEW)
    person = Person().open(mailed_link()).send("Send link", email=cast.admin.email)
    person.open(mailed_link()).send("Change password", password1=NEW, password2=NEW)
    assert connected(person.sign_in(cast.admin.email, NEW).agree(), asked)


def test_signing_out_and_in_as_somebody_else_leads_on_to_what_the_app_asked(asked, cast):
    person = Person().open(asked.url).sign_in(cast.agent.email)
    assert "You cannot agree to this" in person.text
    person.open(f"/accounts/logout/?{urlencode({'next': asked.url})}").press("Stay signed in")
    assert "You cannot agree to this" in person.text
    person.send("Not you?")
    assert connected(person.sign_in(cast.admin.email).agree(), asked)


def code_of(secret):
    return f"{hotp_value(secret, next(iter(yield_hotp_counters_from_time()))):06d}"


def test_a_second_factor_leads_on_to_what_the_app_asked(asked, cast):
    secret = generate_totp_secret()
    TOTP.activate(cast.admin, secret)
    person = Person().open(asked.url).sign_in(cast.admin.email)
    person.send("Cancel").sign_in(cast.admin.email).send("Sign in", code="000000")
    assert connected(person.send("Sign in", code=code_of(secret)).agree(), asked)


def test_a_second_factor_leads_to_what_was_opened_last(asked, cast):
    secret = generate_totp_secret()
    TOTP.activate(cast.admin, secret)
    person = Person().open("/accounts/login/?next=/ledger/").sign_in(cast.admin.email)
    person.open(asked.url)
    assert connected(person.send("Sign in", code=code_of(secret)).agree(), asked)


def test_a_second_factor_that_was_waited_for_too_long_leads_back_to_signing_in(asked, cast):
    TOTP.activate(cast.admin, generate_totp_secret())
    person = Person().open(asked.url).sign_in(cast.admin.email)
    person.http.cookies.pop("sessionid")
    person.send("Sign in", code="000000")
    assert "New here?" in person.text and "next=/oauth/authorize" in person.text


def test_a_stale_form_opens_the_request_anew(asked, cast):
    """Of the consent page, and of signing in."""
    person = Person().open(asked.url)
    person.http.cookies["csrftoken"] = "a" * 32
    assert person.sign_in(cast.admin.email).response.status_code == 403
    person.press("Open the page again").sign_in(cast.admin.email)
    person.http.cookies["csrftoken"] = "b" * 32
    assert person.agree().response.status_code == 403
    assert connected(person.press("Open the page again").agree(), asked)


@pytest.mark.parametrize("says_where_it_came_from", [True, False])
def test_a_form_with_another_forms_token_opens_the_request_anew(asked, cast, says_where_it_came_from):
    person = Person().open(asked.url).sign_in(cast.admin.email)
    fields = {"decision": "agree", "once": "another", "csrfmiddlewaretoken": person.http.cookies["csrftoken"].value}
    headers = {"referer": person.url} if says_where_it_came_from else {}
    person._follow(person.http.post(asked.url, fields, headers=headers), asked.url)
    assert person.response.status_code == 409
    assert connected(person.press("Open the page again").agree(), asked)


def test_a_stale_form_of_any_page_leads_back_to_that_page(cast):
    person = Person().open("/accounts/login/").sign_in(cast.admin.email)
    person.open("/settings/").http.cookies["csrftoken"] = "a" * 32
    assert person.send("Save", name="Ada", time_zone="UTC").response.status_code == 403
    assert "Time zone" in person.press("Open the page again").text


def test_a_form_from_elsewhere_leads_back_into_the_portal_only(cast):
    browser = Browser(enforce_csrf_checks=True)
    for path in ("/settings/", "/accounts/login/?next=https://evil.example/", "/accounts/login/?next=//evil.example/"):
        page = browser.post(path, {"next": "https://evil.example/"}, headers={"referer": "https://evil.example/form"})
        assert page.status_code == 403 and "evil" not in page.content.decode()


def test_no_mail_leads_out_of_the_portal_nor_says_what_a_stranger_typed(cast):
    for path in ("https://evil.example/", "//evil.example/", "/\\evil.example", "/locked-visit-evil.example"):
        outbox().clear()
        Browser().post("/accounts/password/reset/", {"email": cast.admin.email, "next": path})
        assert "evil" not in outbox()[0].body
        page = Person().open(mailed_link())
        assert 'value="https' not in page.text and 'value="//' not in page.text


def test_a_forged_next_is_ignored(cast):
    Browser().post("/accounts/password/reset/", {"email": cast.admin.email})
    person = Person().open(mailed_link() + "?then=forged")
    person.send("Change password", password1=NEW, password2=NEW)
    assert "Your password was changed" in person.text


def test_no_mail_carries_a_next_longer_than_any_page_takes(cast):
    Browser().post("/accounts/password/reset/", {"email": cast.admin.email, "next": f"/?{secrets.token_hex(20000)}"})
    assert len(outbox()[0].body) < 2000


def test_links_in_mails_lead_to_base_url_whatever_host_was_named(cast, settings):
    settings.BASE_URL, settings.ALLOWED_HOSTS = "https://apps.example.com", ["*"]
    form = {"name": "Nia", "password1": NEW}
    for path, fields in (
        ("/accounts/password/reset/", {"email": cast.admin.email}),
        ("/accounts/password/reset/", {"email": "nobody@example.com"}),
        ("/accounts/signup/", {**form, "email": cast.admin.email}),
        ("/accounts/signup/", {**form, "email": "nia@example.com"}),
    ):
        outbox().clear()
        Browser().post(path, fields, headers={"host": "evil.example"})
        assert re.findall(r"https?://[^/\s]+", outbox()[0].body) == ["https://apps.example.com"]
        assert "evil" not in outbox()[0].body + outbox()[0].subject
