"""A form acts once: a second press shows the result of the first, and a token works only for its form."""

import datetime as dt
import time

import pytest
from django.core.signing import TimestampSigner, b62_encode
from django.test import Client as Browser

from portal.accounts.tasks import clear_sent_forms
from portal.foundation.models import SentForm
from tests.clock import advance
from tests.oauth import sign_in
from tests.people.forms import forms_of, text
from tests.people.table import read
from tests.people.world import PEOPLE, body
from tests.pressing import token

pytestmark = pytest.mark.django_db
PRESSED = [
    line
    for line in read()[1]
    if line.method == "POST"
    and line.does
    and not line.address.startswith(
        ("accounts/", "oauth/token", "oauth/revoke", "oauth/introspect", "sandbox/", "api/", "admin/l")
    )
]
# Forms without a once-only token, and why they need none: a second press changes nothing more.
REPEATABLE = {
    "settings/": "saves the same",
    "settings/mail/": "saves the same",
    "credentials/<slug:client_id>/": "saves the same",
    "apps/<slug:slug>/versions/<int:pk>/edit/": "saves the same draft",
    "apps/<slug:slug>/versions/<int:pk>/package/": "saves the same draft",
    "apps/<slug:slug>/versions/<int:pk>/package/edit/": "saves the same draft",
    "installations/<uuid:pk>/settings/": "saves the same",
    "installations/<uuid:pk>/upgrades-itself/": "is on or off",
    "installations/<uuid:pk>/connections/<str:integration>/": "begins at the vendor, where each visit ends by itself",
    "POST/cancel oauth/authorize": "declines, whatever was declined before",
}
ONCE = [line for line in PRESSED if not {line.address, str(line)} & {*REPEATABLE}]
# Their second press gets another code or page; the tests of those pages say which.
_ELSEWHERE = ("oauth/authorize", "credentials/new/test/", "credentials/<slug:client_id>/test/")
SHOWN_AGAIN = [line for line in ONCE if line.address in _ELSEWHERE or "amp_" in line.says]


def somebody_allowed(line):
    return next(who for who, cell in line.cells.items() if cell.endswith("+"))


def prepare(world, line):
    """Return a browser that may send a line's form, its path, and its data with a token."""
    who = somebody_allowed(line)
    path, given = world.prepared(who, line.address, line.method, line.about)
    data = {**given.pop("data", {}), "once": token(world.browsers[who], path)}
    return world.browsers[who], path, data


def messages_of(response):
    return [str(each.message) for each in response.wsgi_request._messages._queued_messages]


def outcome(response):
    return response.status_code, response.get("Location", "")


@pytest.mark.parametrize("line", ONCE, ids=str)
def test_a_second_press_of_a_form_changes_nothing_and_shows_the_first_result(world, line):
    with world.undone():
        browser, path, data = prepare(world, line)
        first = browser.post(path, data)
        before = world.written_rows()
        second = browser.post(path, data)
        after = world.written_rows()
        assert second.status_code == first.status_code or line in SHOWN_AGAIN
        if line not in SHOWN_AGAIN:
            assert outcome(second) == outcome(first)
            assert messages_of(second) == messages_of(first)
        written = {table for table in world.tables if after[table] != before[table]}
        assert written <= {"consent_authorizationcode", "django_session"}


def test_no_form_does_anything_without_its_token(world):
    with world.undone():
        for line in ONCE:
            browser, path, data = prepare(world, line)
            response = browser.post(path, {**data, "once": ""})
            assert response.status_code == 409 and "This form is out of date" in body(response), line
        assert not {change for change in world.changes() if not change.startswith("session")}


def test_a_token_of_another_session_person_or_form_or_an_old_one_is_refused(world):
    with world.undone():
        browser, another, path = world.browsers["dev"], Browser(), "/apps/new/"
        sign_in(another, world.people["dev"])
        before = world.snapshot()
        for what, wrong in {
            "made up": "x:y:z",
            "of another session": token(another, path),
            "of a teammate": token(world.browsers["mate"], path),
            "of another form": token(browser, "/teams/new/"),
            "too old": old_token(browser, path),
        }.items():
            data = {"once": wrong, "team": world.mine.team.pk, "name": "Fresh", "slug": "fresh"}
            assert browser.post(path, data).status_code == 409, what
        assert world.snapshot() == before
        assert browser.post(path, {**data, "once": token(browser, path)}).status_code == 302


def old_token(browser, path):
    """Return a token made a day and a minute ago."""
    session = browser.session
    signer = TimestampSigner(salt=f"once {session.session_key} {session['_auth_user_id']} {path}")
    signer.timestamp = lambda: b62_encode(int(time.time()) - 86_460)
    return signer.sign("x" * 43)


@pytest.mark.parametrize("people", [1, pytest.param(len(PEOPLE), marks=pytest.mark.soak)])
def test_the_token_in_a_form_works_for_that_form(world, people):
    """Send every form that acts once as its page has it, even to another URL."""
    tried = set()
    with world.undone():
        for line in [
            line
            for line in read()[1]
            if line.method == "GET" and not line.address.startswith(("accounts/", "sandbox/"))
        ]:
            for who in [who for who, cell in line.cells.items() if cell.startswith("200+") and who != "out"][:people]:
                page = world.send(who, line.address, line.method, line.about)
                for form in forms_of(page):
                    path = (form.action or page.request["PATH_INFO"]).partition("?")[0]
                    if "once" in form.values and form.method == "POST" and (who, path) not in tried:
                        tried.add((who, path))
                        response = world.browsers[who].post(path, {"once": form.values["once"]})
                        assert "This form is out of date" not in body(response), path
    assert len(tried) > 30, len(tried)


def test_a_form_that_was_refused_can_be_sent_again(world):
    with world.undone():
        browser = world.browsers["dev"]
        data = {"once": token(browser, "/apps/new/"), "team": world.mine.team.pk, "name": "Fresh"}
        assert browser.post("/apps/new/", {**data, "slug": "Not a slug"}).status_code == 422
        assert outcome(browser.post("/apps/new/", {**data, "slug": "a-slug"})) == (302, "/apps/a-slug/")
        # The form was used up: anything else sent with it shows its result.
        assert outcome(browser.post("/apps/new/", {**data, "slug": "another"})) == (302, "/apps/a-slug/")


def test_a_press_long_after_the_first_says_that_nothing_was_done_again(world):
    with world.undone():
        browser = world.browsers["dev"]
        path = f"/apps/{world.mine.app.slug}/versions/{world.mine.draft.pk}/submit/"
        data = {"once": token(browser, path)}
        browser.post(path, data)
        SentForm.objects.update(sent_at="2026-01-01T00:00Z")
        assert "You already submitted this form. It was processed then, and nothing was done again." in text(
            browser.post(path, data, follow=True)
        )


def test_sent_forms_are_erased_when_their_tokens_have_expired(world):
    with world.undone():
        browser, path = world.browsers["dev"], "/apps/new/"
        browser.post(
            path,
            {
                "once": token(browser, path),
                "team": world.mine.team.pk,
                "name": "Fresh",
                "slug": "slug",
            },
        )
        advance(dt.timedelta(hours=40))
        clear_sent_forms()
        assert SentForm.objects.count() == 1
        advance(dt.timedelta(hours=9))
        clear_sent_forms()
        assert not SentForm.objects.exists()
