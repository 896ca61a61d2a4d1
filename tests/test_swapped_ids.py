"""Another tenant's id in every place that takes one: URLs, forms, links and API calls. Refused, with nothing changed."""

import itertools

import pytest
from django.conf import settings
from django.test import Client as Browser
from django.urls import resolve

from portal.demo.sandbox.models import Ticket
from tests import factories
from tests.factories import EDIT, VIEW
from tests.marketplace.versions import sealed
from tests.oauth import AppSide, agree, answer, authorize_url, pkce, sign_in
from tests.people.forms import forms_of, links_of
from tests.people.sent import SENT
from tests.people.table import read
from tests.people.world import MINE, THEIRS, body

pytestmark = pytest.mark.django_db
# The tenant whose ids are swapped for the other's.
OURS = ("dev", "mate", "admin", "agent", "oagt")
LINES = [
    line
    for line in read()[1]
    # Staff serve all tenants, and signing in takes no id but the email address.
    if not line.address.startswith("admin/") and any(line.cells.get(who, "").endswith("+") for who in OURS)
]
# Values of hidden fields and selects that name no row of a tenant. A new field is either here or a swapped id.
NOT_IDS = {
    "csrfmiddlewaretoken", "once", "shown", "next", "confirmed", "accounts", "overlap_hours",  # of the page itself, and what was typed
    "category", "event", "who", "why", "kind", "role", "time_zone", "theme", "template", "scope", "warned", "level", "sort",
    "product", "risk", "state", "credentials", "redirect_uris", "description",  # words that are the same for all
    "level:freshservice.tickets.create",
    "level:freshservice.tickets.edit", "level:freshservice.tickets.view",
}  # fmt: skip


def with_ids(line):
    """Tell whether an address has URL parameters, and is not everybody's, signed in or not."""
    return "<" in line.address and not line.cells.get("out", "").endswith("+")


def whose(line):
    """Return those for whom an address works with their own ids."""
    return [who for who in OURS if line.cells.get(who, "").endswith("+")]


def swaps(world, line):
    kind = f"{line.method}/{line.about}" if line.about else line.method
    mine, theirs = (world.parameters(line.address, kind, word) for word in (MINE, THEIRS))
    names = [name for name in mine if mine[name] != theirs[name]]
    several = itertools.chain.from_iterable(itertools.combinations(names, n + 1) for n in range(len(names)))
    return [{name: theirs[name] for name in some} for some in several]


@pytest.mark.parametrize("line", [line for line in LINES if with_ids(line)], ids=str)
def test_anothers_id_in_an_address_is_not_found(world, line):
    """E1: of each parameter alone, and of all together; for the first for whom the address works with their own."""
    anothers_ids_are_not_found(world, line, whose(line)[:1])


@pytest.mark.soak
@pytest.mark.parametrize("line", [line for line in LINES if len(whose(line)) > 1 and with_ids(line)], ids=str)
def test_anothers_id_in_an_address_is_not_found_by_anybody(world, line):
    anothers_ids_are_not_found(world, line, whose(line)[1:])


def anothers_ids_are_not_found(world, line, people):
    with world.undone():
        for who in people:
            for values in swaps(world, line):
                response = world.send(who, line.address, line.method, line.about, values=values)
                assert response.status_code == 404, (who, values, response.status_code)
                assert THEIRS not in body(response) and MINE not in body(response), (who, values)
        assert not world.changes()


# --- forms and links, as the pages have them ---


def known(world):
    """{an id of ours, as pages send it: theirs}, and {a field that takes one: theirs} for those that say nothing by themselves."""
    mine, theirs = world.mine, world.theirs
    words = {
        mine.account.slug: theirs.account.slug,
        **{
            # Everybody's own test account is a tenant too.
            world.people[who].memberships.first().account.slug: theirs.account.slug
            for who in OURS
            if world.people[who].memberships.exists()
        },
        **{world.people[who].email: theirs.admin.email for who in OURS},
    }
    fields = {
        "team": theirs.team.pk,
        "version": theirs.grown_next.pk,
        "client": theirs.free.pk,
        "chain": theirs.account.chain_name,
    }
    return words, fields


def ids_in(world, fields):
    """[(field, the other tenant's value)] of a form; fails for a hidden field or select that nobody knows."""
    words, by_name = known(world)
    found = []
    for name, field in fields.items():
        options = [value for value in field["options"] if value]
        # Of a package's form: names and words of the developer's own.
        if name in NOT_IDS or name.startswith(("vendors-", "requests-", "fields-")):
            continue
        theirs = next((words[value] for value in options if value in words), None)
        theirs = theirs or by_name.get(name)
        if theirs:
            found.append((name, str(theirs)))
        elif field["kind"] in ("hidden", "select"):
            pytest.fail(f"What is {name!r} ({options[:3]}) an id of? Say it in known(), or in NOT_IDS.")
    return found


def submissions(world, who, form, path):
    """What a form sends by each of its buttons, filled in as sent.py would where a blank one would not do."""
    kind = f"POST {resolve(path).route}"
    given = SENT[kind](world, who).get("data", {}) if form.method == "POST" and kind in SENT else {}
    # sent.py cannot know what this page contains.
    given = {name: value for name, value in given.items() if name not in ("once", "shown")}
    buttons = {name for name, field in form.fields.items() if field["kind"] == "button"}
    # The browser puts a new once-only token into each form.
    values = {name: value for name, value in form.values.items() if name not in {*buttons, "once"}}
    for button in sorted(buttons) or [None]:
        yield {**values, **({button: form.fields[button]["options"][0]} if button else {}), **given}


def submit(browser, form, path, data):
    return browser.post(path, data) if form.method == "POST" else browser.get(path, data)


PAGES = [line for line in LINES if line.method == "GET" and not line.address.startswith(("sandbox/", "."))]


def readers(line):
    """Return those who read a page: one of each kind, with a teammate or the other agent only where nobody else does, and the rest."""
    seen = [who for who in OURS if line.cells.get(who, "").startswith("2")]
    one = [who for who in seen if who not in ("mate", "oagt")] or seen
    return one, [who for who in seen if who not in one]


@pytest.mark.parametrize("line", PAGES, ids=str)
def test_anothers_id_in_a_form_or_a_link_is_refused(world, line):
    """A developer, an admin and an agent try it, as far as they see the page; `make soak` has everybody try."""
    anothers_ids_on_a_page_are_refused(world, line, readers(line)[0])


@pytest.mark.soak
@pytest.mark.parametrize("line", [line for line in PAGES if readers(line)[1]], ids=str)
def test_anothers_id_in_a_form_or_a_link_is_refused_to_everybody(world, line):
    anothers_ids_on_a_page_are_refused(world, line, readers(line)[1])


def anothers_ids_on_a_page_are_refused(world, line, people):
    for who in people:
        page = world.send(who, line.address, line.method, line.about)
        here = page.request["PATH_INFO"]
        for form in forms_of(page):
            path = form.action or here
            for name, theirs in ids_in(world, form.fields):
                for data in submissions(world, who, form, path):
                    with world.undone():
                        response = submit(world.browsers[who], form, path, {**data, name: theirs})
                        assert response.status_code < 500 and THEIRS not in body(response), (who, path, name)
                        assert not world.changes(), (who, path, name, world.changes())
        for path, query in links_of(page):
            for name, value in query.items():
                if theirs := known(world)[0].get(value):
                    with world.undone():
                        response = world.browsers[who].get(path, {**query, name: theirs})
                        assert response.status_code < 500 and THEIRS not in body(response), (who, path, name)
                        assert not world.changes(), (who, path, name)


@pytest.mark.parametrize(
    ("who", "kind", "address", "field"),
    [
        ("dev", "GET", "credentials/new/", "team"),
        ("mate", "GET", "apps/new/", "team"),
        ("dev", "GET", "apps/new/", "client"),
        ("dev", "GET/bare", "apps/<slug:slug>/", "client"),
        ("admin", "GET/custom", "marketplace/<slug:slug>/install/", "account"),
    ],
)
def test_the_same_forms_work_with_ones_own_ids(world, who, kind, address, field):
    """So it is the id for which they were refused, and the forms are found."""
    method, _slash, about = kind.partition("/")
    page = world.send(who, address, method, about)
    path = page.request["PATH_INFO"]
    form = next(form for form in forms_of(page) if field in form.fields)
    assert field in dict(ids_in(world, form.fields))
    with world.undone():
        for data in submissions(world, who, form, path):
            assert submit(world.browsers[who], form, path, data).status_code in (201, 302)
        assert world.changes()


def test_a_field_that_nobody_knows_fails(world):
    with pytest.raises(pytest.fail.Exception, match="membership"):
        ids_in(world, {"membership": {"kind": "hidden", "options": ["7"]}})


# --- accounts by name, and what only a session keeps ---


def test_listing_accounts_tells_nothing_and_gives_them_nothing(world):
    """Any account may be listed; whether it exists is not told, and it still installs by its own admin only (E1)."""
    told = []
    for slug in (world.theirs.account.slug, "made-up"):
        with world.undone():
            path = f"/apps/{world.mine.custom.slug}/accounts/"
            page = world.browsers["dev"].post(path, sealed(world.browsers["dev"], path, accounts=slug), follow=True)
            assert world.changes() == {"app~", "entry+1"} and THEIRS not in body(page)
            told.append((page.status_code, [str(message).replace(slug, "") for message in page.context["messages"]]))
            install = {"account": world.theirs.account.slug}
            for who in OURS:
                answered = world.browsers[who].post(f"/marketplace/{world.mine.custom.slug}/install/", install)
                assert answered.status_code == 404
            assert world.changes() == {"app~", "entry+1"}
    assert told[0] == told[1]


def test_an_account_that_is_not_listed_cannot_install(world):
    """M3: by the address, and with another account's name in the form of an app that both may have."""
    with world.undone():
        for slug in (world.mine.waiting.slug, world.mine.app.slug, world.theirs.waiting.slug):
            for who, account in (("oadm", world.mine.account), ("admin", world.theirs.account)):
                path = f"/marketplace/{slug}/install/"
                assert world.browsers[who].post(path, {"account": account.slug}).status_code == 404
        assert not world.changes()


def test_the_answer_of_anothers_installation_is_not_taken(world):
    with world.undone():
        for who in OURS:
            session = world.browsers[who].session
            session["hosted"] = {"state": str(world.theirs.unfinished.pk)}
            session.save()
            sent = {"state": "state", "code": "x", "iss": settings.BASE_URL}
            response = world.browsers[who].get("/oauth/callback", sent)
            assert response.status_code == 404 and THEIRS not in body(response)
        assert not world.changes()


# --- /oauth/authorize ---


@pytest.mark.parametrize("decision", [None, "agree", "cancel"])
@pytest.mark.parametrize("prompt", ["", "none", "consent", "select_account"])
def test_anothers_account_or_installation_is_not_asked_for(world, decision, prompt):
    """The same page for unknown and foreign ones, and never another account in their place."""
    mine, theirs = world.mine, world.theirs
    hints = [
        {"account": theirs.account.slug},
        {"installation": theirs.installation.pk},
        {"account": mine.account.slug, "installation": theirs.installation.pk},
        {"account": theirs.account.slug, "installation": mine.installation.pk},
        {"account": "made-up"},
        # Another app's installation in the same account.
        {"installation": mine.unfinished.pk},
    ]
    with world.undone():
        for who, hint in itertools.product(("dev", "admin", "agent"), hints):
            url = authorize_url(mine.client, pkce()[1], **hint, **({"prompt": prompt} if prompt else {}))
            browser = world.browsers[who]
            response = browser.post(url, {"decision": decision, "shown": "0" * 64}) if decision else browser.get(url)
            if decision == "cancel" or prompt == "none":
                expected = "access_denied" if decision == "cancel" else "account_selection_required"
                assert answer(response)["error"] == expected, (who, hint)
            else:
                assert response.status_code == 404 and "not one of yours" in body(response), (who, hint)
            assert theirs.word not in body(response)
        assert not world.changes()


@pytest.mark.parametrize("decision", [None, "agree"])
def test_anothers_client_gets_nothing_here(world, decision):
    """A platform client that is not installed in the account, with or without an installation that is not its own."""
    with world.undone():
        for hint in ({}, {"account": world.mine.account.slug}, {"installation": world.mine.installation.pk}):
            for who in ("admin", "agent"):
                url = authorize_url(world.theirs.client, pkce()[1], **hint)
                browser = world.browsers[who]
                response = (
                    browser.post(url, {"decision": decision, "shown": "0" * 64}) if decision else browser.get(url)
                )
                assert response.status_code == (404 if "installation" in hint else 403), (who, hint)
                assert "code=" not in response.get("Location", "")
        assert not world.changes()


def test_a_screen_shown_to_one_cannot_be_agreed_to_by_or_for_another(world):
    """The digest is of person, account, client and scopes."""

    def url(own, client=None, scope=f"{VIEW} {EDIT}"):
        return authorize_url(client or own.client, pkce()[1], account=own.account.slug, scope=scope)

    def digest(who, address):
        return next(
            form.values["shown"] for form in forms_of(world.browsers[who].get(address)) if "shown" in form.values
        )

    mine, theirs = world.mine, world.theirs
    pocket = url(mine, mine.external_agent)
    stale = [
        ("admin", url(mine), digest("oadm", url(theirs))),
        ("oagt", pocket, digest("agent", pocket)),
        ("admin", url(mine), digest("admin", pocket)),
        ("admin", url(mine), digest("admin", url(mine, scope=VIEW))),
        ("admin", f"/authorizations/{mine.outside.pk}/reauthorize/", digest("admin", url(mine, mine.external))),
        ("admin", f"/authorizations/{mine.outside.pk}/reauthorize/", digest("oadm", f"/authorizations/{theirs.outside.pk}/reauthorize/")),
    ]  # fmt: skip
    with world.undone():
        for who, address, shown in stale:
            assert world.browsers[who].post(address, {"decision": "agree", "shown": shown}).status_code == 409
        assert not world.changes()
    with world.undone():
        # Of two admins who read the same words, each agrees to their own page.
        colleague, shown = Browser(), digest("admin", url(mine))
        sign_in(colleague, factories.member(mine.account, "admin", "Abe"))
        before = world.snapshot()
        assert colleague.post(url(mine), {"decision": "agree", "shown": shown}).status_code == 409
        assert world.snapshot() == before


# --- what programs send ---


def test_a_client_gets_no_token_of_an_account_that_did_not_agree(world):
    """One text for unknown, foreign and merely not agreed to."""
    sides = [AppSide(Browser(), own.client, own.secret) for own in (world.mine, world.theirs)]
    told = set()
    with world.undone():
        for side, own in zip(sides, (world.theirs, world.mine), strict=True):
            for slug in (own.account.slug, own.team.test_account.slug, "made-up"):
                response = side.client_credentials(slug)
                assert response.status_code == 400
                told.add(response.content)
        assert len(told) == 1 and b"invalid_grant" in told.pop()
        assert not world.changes()


def test_anothers_code_secret_or_token_is_of_no_use(world):
    mine, theirs = world.mine, world.theirs
    us, them = (AppSide(Browser(), own.client, own.secret) for own in (mine, theirs))
    verifier, challenge = pkce()
    url = authorize_url(theirs.client, challenge, account=theirs.account.slug)
    code = answer(agree(world.browsers["oadm"], url))["code"]
    family = them.tokens_for(world.browsers["oadm"], account=theirs.account.slug)
    before = world.snapshot()
    assert us.exchange(code, verifier).json()["error"] == "invalid_grant"
    assert us.refresh(family["refresh_token"]).json()["error"] == "invalid_grant"
    for token in (family["refresh_token"], family["access_token"], theirs.token):
        assert us.revoke(token).status_code == 200
    mixed = AppSide(Browser(), mine.client, theirs.secret)
    assert mixed.client_credentials(mine.account.slug).json()["error"] == "invalid_client"
    assert world.snapshot() == before
    assert them.exchange(code, verifier).status_code == 200 and us.call(theirs.token).status_code == 200


def test_a_token_sees_the_tickets_of_its_own_account_only(world):
    us = AppSide(Browser(), world.mine.client, world.mine.secret)
    path = f"/sandbox/api/v2/tickets/{world.theirs.ticket.pk}"
    sent = {"data": {"subject": "taken", "account": world.mine.account.pk}, "content_type": "application/json"}
    with world.undone():
        assert us.call(world.mine.token, path=path).status_code == 404
        assert us.call(world.mine.token, "put", path, **sent).status_code == 404
        assert THEIRS not in body(us.call(world.mine.token))
        assert not world.changes()
        # An account in the body is nothing that the API reads.
        sent["data"]["account"] = world.theirs.account.pk
        made = us.call(world.mine.token, "post", **sent).json()["ticket"]
        assert Ticket.objects.get(pk=made["id"]).account == world.mine.account
