"""The pages of OAuth credentials: who may, signed out, wrong method, replay, and how many queries."""

import datetime as dt
import re

import pytest
from django.contrib.sessions.models import Session
from django.test import Client as Browser

from credentials import actions
from credentials.authentication import check_client_secret
from credentials.forms import scope_picker
from credentials.models import Client, ClientSecret, Risk, Scope
from credentials.secrets import CLIENT_SECRET, derived_before, digest
from portal.accounts.actions import teams
from portal.foundation.database import database_now
from portal.foundation.models import SentForm
from tests import factories
from tests.browsing import squeeze
from tests.factories import CREATE, DELETE, EDIT, REDIRECT_URI, VIEW
from tests.people.forms import forms_of, text
from tests.pressing import token
from tests.worlds import shared

pytestmark = pytest.mark.django_db


@shared
def dev(cast, browse):
    return browse(cast.dev)


@shared
def row(cast):
    return factories.client(cast.dev)[0]


def form(cast, **more):
    factories.product()
    return {
        "team": factories.team_of(cast.dev).pk, "name": "Bridge", "description": "", "redirect_uris": REDIRECT_URI,
        "scope": [VIEW], "level": "account", "kind": "external", **more,
    }  # fmt: skip


def urls(row):
    base = f"/credentials/{row.client_id}/"
    return [base, f"{base}scopes/", f"{base}secrets/", f"{base}secrets/{row.secrets.get().pk}/end/"]


def test_the_secret_is_shown_once(cast, dev):
    """C3"""
    page = dev.post("/credentials/new/", form(cast))
    assert page.status_code == 201 and page["Cache-Control"].count("no-store")
    secret = re.search(r"amp_cs_[\w-]{49}", page.content.decode())[0]
    row = Client.objects.get()
    for path in ("/credentials/", *urls(row)[:1]):
        assert secret not in dev.get(path).content.decode()
    assert secret[:12] in dev.get(urls(row)[0]).content.decode()


def a_form(browser, path, **fields):
    return path, {**fields, "once": token(browser, path)}


def secret_in(page):
    return re.search(r"amp_cs_[\w-]{49}", page.content.decode())[0]


@pytest.mark.parametrize("how", ["created", "rotated"])
def test_a_second_press_shows_the_same_secret_for_a_minute_and_makes_no_other(cast, dev, row, how):
    """C3: the page of the first press is lost where a button is pressed twice."""
    if how == "created":
        path, sent = a_form(dev, "/credentials/new/", **form(cast))
    else:
        path, sent = a_form(dev, urls(row)[2], overlap_hours=24)
    first = dev.post(path, sent)
    made = ClientSecret.objects.count(), Client.objects.count()
    second = dev.post(path, sent)
    assert secret_in(second) == secret_in(first) and "no-store" in second["Cache-Control"]
    secret = ClientSecret.objects.get(hash=digest(secret_in(first)))
    assert check_client_secret(secret.client, secret_in(second)) == secret
    SentForm.objects.update(sent_at=database_now() - dt.timedelta(seconds=61))
    later = dev.post(path, sent, follow=True)
    assert later.redirect_chain == [(f"/credentials/{secret.client.client_id}/", 302)]
    assert "amp_cs_" not in text(later).replace(secret.prefix, "").replace(row.secrets.last().prefix, "")
    assert (
        "… was created when you first submitted the form and can no longer be shown. If you did not copy it, rotate it."
        in text(later)
    )
    assert (ClientSecret.objects.count(), Client.objects.count()) == made


def test_the_secret_is_shown_again_after_the_servers_key_was_changed(cast, dev, settings):
    path, sent = a_form(dev, "/credentials/new/", **form(cast))
    first = dev.post(path, sent)
    settings.TOKEN_KEYS = ["a new key that makes from now on", *settings.TOKEN_KEYS]
    assert secret_in(dev.post(path, sent)) == secret_in(first)


def test_a_secret_that_has_ended_or_is_not_ones_own_any_more_is_not_shown_again(cast, dev, row):
    path, sent = a_form(dev, urls(row)[2], overlap_hours=24)
    dev.post(path, sent)
    actions.rotate_secret(row, overlap_hours=0, by=cast.dev)
    assert "can no longer be shown" in text(dev.post(path, sent, follow=True))
    path, sent = a_form(dev, f"/credentials/{row.client_id}/secrets/", overlap_hours=0, confirmed="1")
    dev.post(path, sent)
    row.team.memberships.update(ended_at=database_now())
    assert "amp_cs_" not in dev.post(path, sent, follow=True).content.decode()


def test_what_is_kept_of_a_form_makes_no_secret(cast, dev):
    """Neither the database nor the server's keys alone can: it takes the token, which only the page had."""
    path, sent = a_form(dev, "/credentials/new/", **form(cast))
    secret = secret_in(dev.post(path, sent))
    kept = [*SentForm.objects.values_list(), *Session.objects.values_list(), *ClientSecret.objects.values_list()]
    assert secret not in str(kept) and sent["once"].split(":")[0] not in str(kept)
    assert secret not in str(derived_before(CLIENT_SECRET, f"{path} {SentForm.objects.get().token_hash}"))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": ""}, "required"),
        ({"redirect_uris": "http://app.example/"}, "https://"),
        ({"redirect_uris": ""}, "at least one redirect URL"),
        ({"scope": ["made.up"]}, "no scope named made.up"),
        ({"scope": [DELETE]}, "why the app needs this"),
        ({"kind": "other"}, "valid choice"),
        ({"level": ""}, "required"),
        ({"name": "a\0b"}, "Null characters"),
    ],
)
def test_a_mistake_is_told_and_makes_nothing(cast, dev, changed, said):
    factories.product()
    page = dev.post("/credentials/new/", form(cast, **changed))
    assert page.status_code == 422 and said in page.content.decode()
    assert not Client.objects.exists()


def test_a_high_risk_scope_is_added_with_its_reason(cast, dev, row):
    url = urls(row)[1]
    page = dev.post(url, {"scope": [DELETE]})
    assert page.status_code == 422 and "why the app needs this" in page.content.decode()
    asked = dev.post(url, {"scope": [DELETE], f"why:{DELETE}": "To tidy up"})
    assert asked.status_code == 200 and "Add this scope to" in text(asked) and row.scope_names() == {VIEW, EDIT}
    assert dev.post(url, next(form.values for form in forms_of(asked) if "confirmed" in form.values)).status_code == 302
    assert row.scope_names() == {VIEW, EDIT, DELETE}
    page = dev.get(urls(row)[0]).content.decode()
    assert "To tidy up" in page and "Delete and restore tickets" in page


def test_a_reason_can_be_given_for_every_scope_and_people_read_it(cast, dev, row):
    """On creating and on adding alike; only a scope of high risk or above needs one."""
    assert dev.get("/credentials/new/").content.count(b'name="why:') == 4
    dev.post("/credentials/new/", form(cast, scope=[VIEW], **{f"why:{VIEW}": "To list them", f"why:{EDIT}": "x"}))
    made = Client.objects.first()
    assert list(made.scopes.values_list("justification", flat=True)) == ["To list them"]
    url = urls(made)[1]
    sent = {"scope": [EDIT, CREATE], f"why:{EDIT}": "To close what is done", "confirmed": "1"}
    assert dev.post(url, sent).status_code == 302
    page = text(dev.get(urls(made)[0]))
    assert "Why: To list them" in page and "Why: To close what is done" in page
    assert made.scope_names() == {VIEW, EDIT, CREATE}


def test_the_picker_offers_every_scope_as_its_sentence_with_its_risk(dev, row):
    page = dev.get("/credentials/new/").content.decode()
    for words in ("View tickets", "Low risk", "Edit tickets", "Medium risk", "Delete and restore tickets", "High risk"):
        assert words in page
    # Those present are locked, and no longer offered.
    assert f'value="{VIEW}"' not in dev.get(urls(row)[0]).content.decode()


def test_an_older_secret_is_ended_from_the_page(cast, dev, row):
    first = row.secrets.get()
    actions.rotate_secret(row, overlap_hours=24, by=cast.dev)
    url = f"/credentials/{row.client_id}/secrets/{first.pk}/end/"
    assert "never used" in dev.get(url).content.decode() and actions.active_secrets(row).count() == 2
    assert dev.post(url).status_code == 302 and actions.active_secrets(row).count() == 1
    assert (
        "You can end only an older secret that still works. To replace the current one, rotate it."
        in dev.post(url, follow=True).content.decode()
    )


def test_a_secret_of_another_client_is_not_found(cast, dev, row):
    other, _secret = factories.client(cast.dev)
    assert dev.post(f"/credentials/{other.client_id}/secrets/{row.secrets.get().pk}/end/").status_code == 404


def test_a_teammate_sees_and_changes_it_and_a_former_one_does_not(cast, browse, row):
    mate = factories.person("Mia")
    teams.add_teammate(row.team, mate, role="member", by=cast.dev)
    browser = browse(mate)
    posted = {"redirect_uris": "https://app.example/new", "description": "Moved"}
    assert browser.post(urls(row)[0], posted).status_code == 302
    row.refresh_from_db()
    assert row.redirect_uris == "https://app.example/new"
    row.team.memberships.filter(user=mate).update(ended_at="2026-01-01T00:00Z")
    assert browser.get(urls(row)[0]).status_code == 404


def test_strangers_are_not_told_that_it_exists(cast, browse, row):
    """E1"""
    for who in (cast.other_dev, cast.admin, cast.agent, factories.reviewer()):
        browser = browse(who)
        assert row.client_id not in browser.get("/credentials/").content.decode()
        assert browser.get(urls(row)[0]).status_code == 404
        for url in urls(row):
            posted = {"redirect_uris": "https://evil.example/", "scope": [DELETE], f"why:{DELETE}": "x"}
            assert browser.post(url, {**posted, "overlap_hours": 0}).status_code == 404
    row.refresh_from_db()
    assert row.redirect_uris == REDIRECT_URI and row.scope_names() == {VIEW, EDIT} and row.secrets.count() == 1


def test_nobody_makes_credentials_for_a_team_that_is_not_theirs(cast, browse):
    other = browse(cast.other_dev)
    page = other.post("/credentials/new/", form(cast))
    assert page.status_code == 422 and not Client.objects.exists()


def test_signed_out_people_sign_in_first(row):
    for url in ("/credentials/", "/credentials/new/", *urls(row)):
        answer = Browser().post(url) if url.endswith(("scopes/", "secrets/", "end/")) else Browser().get(url)
        assert answer.status_code == 302 and answer["Location"].startswith("/accounts/login/?next=")


def test_changes_are_posts_and_posts_need_the_csrf_token(cast, dev, row):
    for url in urls(row)[1:2]:
        assert dev.get(url).status_code == 405
        page = dev.get(url, headers={"accept": "text/html"})
        assert page.status_code == 405 and f'href="/credentials/{row.client_id}/"' in page.content.decode()
    for url in ("/credentials/", *urls(row)):
        assert dev.put(url).status_code == 405
    strict = Browser(enforce_csrf_checks=True)
    strict.force_login(cast.dev, backend="django.contrib.auth.backends.ModelBackend")
    for url in ("/credentials/new/", *urls(row)):
        assert strict.post(url, {"overlap_hours": 0}).status_code == 403
    assert row.secrets.count() == 1


def test_rotating_at_once_asks_first_and_names_the_secrets_that_end(cast, dev, row):
    url = urls(row)[2]
    assert dev.post(url, {"overlap_hours": 0})["Location"] == url and row.secrets.count() == 1
    page = dev.get(url)
    assert row.secrets.get().prefix in text(page) and "stop working immediately" in text(page)
    answer = dev.post(url, next(form.values for form in forms_of(page) if "confirmed" in form.values))
    assert secret_in(answer) and actions.active_secrets(row).count() == 1


def test_the_page_shows_the_endpoints_that_a_client_library_asks_for(dev, row, settings):
    page = squeeze(dev.get(urls(row)[0]).content.decode())
    for path in ("/oauth/authorize", "/oauth/token", "/.well-known/oauth-authorization-server"):
        assert f'value="{settings.BASE_URL}{path}"' in page


def test_an_error_links_to_its_field_in_a_group_that_is_open_and_chosen_scopes_are_chips(cast, dev):
    page = squeeze(dev.post("/credentials/new/", form(cast, scope=[DELETE, VIEW])).content.decode())
    linked = re.search(r'<a href="#(why-of-\d+)">Delete and restore tickets</a>: Explain why', page)[1]
    group = next(each for each in re.findall(r"<details.*?</details>", page) if f'id="{linked}"' in each)
    assert group.startswith('<details class="group" open')
    assert re.findall(r'class="chip" href="#scope-\d+">(.*?)</a>', page) == [
        "Delete and restore tickets",
        "View tickets",
    ]


def test_groups_of_scopes_are_titled_as_people_write_them(row):
    named = [("agentgroups", "Create agent groups"), ("oncall", "Edit on-call schedules"), ("sla_policies", "View SLA policies"), ("pir_template", "Edit post-incident reviews"), ("audit_log", "View the audit log")]  # fmt: skip
    for resource, sentence in named:
        Scope.objects.create(
            product=factories.product(), name=f"desk.{resource}.view", sentence=sentence, risk=Risk.LOW
        )
    titles = [title for _product, groups in scope_picker() for title, _scopes in groups]
    assert titles == ["Agent groups", "Audit log", "On-call", "PIR template", "SLA policies", "Tickets"]
    # The title stays when the scope whose sentence gave it is held already.
    Scope.objects.create(
        product=factories.product(), name="desk.oncall.manage", sentence="Manage everything", risk=Risk.LOW
    )
    titles = [title for _product, groups in scope_picker(held=["desk.oncall.view"]) for title, _scopes in groups]
    assert "On-call" in titles
