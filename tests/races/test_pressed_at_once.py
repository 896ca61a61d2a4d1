"""Two simultaneous presses of one form, on two connections, interleaved at each statement that matters."""

import re
from itertools import count

import pytest
from allauth.account.forms import default_token_generator
from allauth.account.utils import user_pk_to_url_str
from django.core.cache import cache
from django.test import Client as Browser

from credentials.models import Client, ClientSecret
from portal.accounts.models import Membership
from tests import factories
from tests.factories import PASSWORD, VIEW
from tests.oauth import sign_in
from tests.pressing import token
from tests.races.pauses import interleave

ONE, OTHER = "another long enough one", "yet another long one"


def at_writes(trace, statement):
    return statement.kind in ("insert", "lock", "commit")


def both_orders(stage, actors, prepare, at=at_writes):
    """Play two presses from `prepare(world)`, the first pausing at each of its points; yield their outcomes."""
    for number in count(1):
        stage.reset()
        first, second = prepare(stage.world)
        played = interleave(actors, first, second, number, at)
        for outcome in played.outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        yield played.outcomes
        if not played.paused:
            assert number > 2
            return


def signed_in(user):
    browser = Browser()
    sign_in(browser, user)
    return browser


def twice(user, path, data):
    """Return the same form twice, from two windows of one browser."""
    one, two = signed_in(user), Browser()
    two.cookies = one.cookies.copy()
    data = {**data, "once": token(one, path)}
    return [lambda browser=browser: browser.post(path, data) for browser in (one, two)]


def test_two_presses_make_one_client_and_both_show_its_secret(stage, actors):
    def prepare(world):
        sent = {"team": world.team.pk, "name": "Twice", "redirect_uris": "https://app.example/cb", "kind": "external", "level": "account", "scope": [VIEW]}  # fmt: skip
        return twice(world.dev, "/credentials/new/", sent)

    for outcomes in both_orders(stage, actors, prepare):
        secrets = {re.search(r"amp_cs_[\w-]{49}", each.content.decode())[0] for each in outcomes}
        assert len(secrets) == 1 and Client.objects.filter(name="Twice").count() == 1


def test_two_presses_rotate_a_secret_once(stage, actors):
    def prepare(world):
        client = world.sides["external"].client
        prepare.before = ClientSecret.objects.count()
        return twice(world.dev, f"/credentials/{client.client_id}/secrets/", {"overlap_hours": 24})

    for outcomes in both_orders(stage, actors, prepare):
        assert len({re.search(r"amp_cs_[\w-]{49}", each.content.decode())[0] for each in outcomes}) == 1
        assert ClientSecret.objects.count() == prepare.before + 1


def test_two_presses_remove_a_member_once_and_nobody_is_shown_an_error(stage, actors):
    """Without the token, the second press would find nobody to remove."""

    def prepare(world):
        member = world.members[world.agent2.pk]
        return twice(world.admin, f"/members/{world.account.slug}/{member.pk}/remove/", {})

    for outcomes in both_orders(stage, actors, prepare):
        assert [each.status_code for each in outcomes] == [302, 302]
        assert len({each["Location"] for each in outcomes}) == 1


def test_an_invitations_link_lets_in_once_however_many_press(stage, actors):
    def prepare(world):
        stranger = factories.person("Nia", team=False)
        _invitation, link = factories.invited(world.account, stranger.email, by=world.admin)
        browsers = [signed_in(stranger), signed_in(stranger)]
        for browser in browsers:
            browser.get(f"/invitations/{link}/")
        prepare.stranger = stranger
        return [lambda browser=browser: browser.post("/invitations/") for browser in browsers]

    for outcomes in both_orders(stage, actors, prepare):
        assert sorted(each.status_code for each in outcomes) in ([302, 409], [302, 410])
        assert Membership.objects.filter(user=prepare.stranger).count() == 1


@pytest.mark.parametrize(("first", "second"), [(ONE, OTHER), (ONE, ONE)])
def test_a_password_reset_link_sets_one_password_however_many_press(stage, actors, first, second):
    def prepare(world):
        cache.clear()
        person = prepare.person = world.stranger
        person.refresh_from_db()
        key = f"{user_pk_to_url_str(person)}-{default_token_generator.make_token(person)}"
        presses = []
        for password in (first, second):
            browser = Browser()
            path = browser.get(f"/accounts/password/reset/key/{key}/")["Location"]
            sent = {"password1": password, "password2": password}
            presses.append(lambda browser=browser, path=path, sent=sent: browser.post(path, sent))
        return presses

    def everywhere_it_writes(trace, statement):
        return statement.table == "accounts_user" or statement.kind == "commit"

    for outcomes in both_orders(stage, actors, prepare, everywhere_it_writes):
        prepare.person.refresh_from_db()
        done = [each.get("Location", "").endswith("/done/") for each in outcomes]
        now = [prepare.person.check_password(password) for password in (first, second)]
        # Whoever is told that it was done has set the password.
        assert any(done) and all(has for is_done, has in zip(done, now, strict=True) if is_done)
        assert first == second or sum(done) == 1
    assert not prepare.person.check_password(PASSWORD)


def test_two_people_who_sign_up_with_one_address_at_once_see_the_same_page(stage, actors):
    def prepare(world):
        sent = {"name": "Nia", "email": "nia@example.com", "password1": ONE}
        return [lambda: Browser().post("/accounts/signup/", sent)] * 2

    for outcomes in both_orders(stage, actors, prepare):
        assert [each.status_code for each in outcomes] == [302, 302]
        assert len({each["Location"] for each in outcomes}) == 1
