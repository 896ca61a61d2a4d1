"""A reviewer's page: what customers will see, what changes for whom, what the team did before, and what is next."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from credentials import actions as credentials
from marketplace.actions import publishing
from marketplace.models import Review
from marketplace.reviewing import MAX_COMPARED, changed_lines
from portal.accounts.actions import teams
from portal.accounts.models import TeamRole
from tests import factories
from tests.factories import DELETE, EDIT, VIEW, version_fields
from tests.worlds import shared

pytestmark = pytest.mark.django_db
QUEUE = "/admin/marketplace/version/"


@shared
def row(cast):
    row, _secret = factories.client(cast.dev, scopes=[VIEW, EDIT])
    credentials.add_scopes(row, scopes={DELETE: "To tidy up"}, by=cast.dev)
    return row


@shared
def published(cast, row):
    return factories.publish(factories.app(cast.dev, row, description="One\nTwo\nThree"), cast.dev)


def text(response):
    page = re.sub(r"<(script|style).*?</\1>", "", response.content.decode(), flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))


def submit(cast, app, number, **fields):
    draft = publishing.create_version(app, by=cast.dev, **version_fields(number, **fields))
    return publishing.submit_version(draft, by=cast.dev)


def page_of(browser, version):
    return browser.get(f"{QUEUE}{version.pk}/change/")


def names(response):
    """Return the versions that a list shows, in order."""
    return re.findall(r'<th class="field-__str__"><a [^>]*>([^<]*)</a>', response.content.decode())


# --- what customers will see ---


def test_a_reviewer_sees_the_listing_and_the_consent_screen_as_customers_will(cast, browse, published):
    version = submit(cast, published.app, "2.0", required_scopes=[VIEW], optional_scopes=[DELETE], tagline="Even more")
    page = text(page_of(browse(factories.reviewer()), version))
    listing = page[page.index("The listing, as customers see it") : page.index("The consent screen, as")]
    assert "Even more" in listing and "A good app" in listing and "Release history 2.0 New" in listing
    assert "What the app will be able to do View tickets" in listing and "Optional, if you allow it Delete" in listing
    consent = page[page.index("The consent screen, as") :]
    assert "Insights asks for access to" in consent and "Optional: turn on what you want to allow" in consent
    assert "This does not allow the app to" in consent


def test_each_risk_has_its_colour_and_its_words_the_highest_first(cast, browse, published):
    version = submit(cast, published.app, "2.0", required_scopes=[VIEW], optional_scopes=[DELETE])
    rita = browse(factories.reviewer())
    page = page_of(rita, version).content.decode()
    asks = page[page.index("What it asks for") :]
    risks = re.findall(r'class="badge (tone-\w+)">([^<]*)<', asks)[:4]
    assert risks == [("tone-danger", "High risk"), ("tone-success", "Low risk")] * 2
    assert "Optional · new" in page and "To tidy up" in page
    queue = rita.get(QUEUE).content.decode()
    assert re.findall(r'class="badge tone-(\w+)">([^<]*)<', queue) == [
        ("danger", "High risk"),
        ("primary", "In review"),
    ]


# --- what changes ---


def test_a_review_shows_each_changed_line_of_a_text_and_only_these(cast, browse, published):
    version = submit(cast, published.app, "2.0", description="One\nTwo and <b>more</b>\nThree")
    page = page_of(browse(factories.reviewer()), version).content.decode()
    assert re.findall(r"<(del|ins)>(.*?)</", page) == [("del", "Two"), ("ins", "Two and &lt;b&gt;more&lt;/b&gt;")]


def test_each_audience_is_compared_with_what_it_has_now(cast, browse, published):
    """Chosen accounts have a version that no reviewer saw; what is old to them is new to everyone else."""
    draft = publishing.create_version(
        published.app, by=cast.dev, **version_fields("1.1", required_scopes=[VIEW, EDIT], description="Custom")
    )
    publishing.publish_custom(draft, accounts={cast.acme.slug}, by=cast.dev)
    version = submit(cast, published.app, "1.2", required_scopes=[VIEW, EDIT], description="Custom")
    page = text(page_of(browse(factories.reviewer()), version))
    everyone = page.index("For everyone Compared with 1.0, the published version Newly requested Edit tickets")
    chosen = page.index(
        "For the accounts that its developer chose · no reviewer saw what they have now Compared with 1.1"
    )
    assert everyone < chosen
    theirs = page[chosen : page.index("The listing, as customers see it")]
    assert "Newly requested" not in theirs and "The texts did not change." in theirs


def test_one_comparison_is_enough_where_all_have_the_same_version(cast, browse, published):
    version = submit(cast, published.app, "2.0")
    page = text(page_of(browse(factories.reviewer()), version))
    assert "For everyone Compared with 1.0" in page and "its developer chose" not in page


def test_long_texts_are_shown_whole_instead_of_being_compared_for_long():
    old, new = ("\n".join(f"{what} {number % 7}" for number in range(5 * MAX_COMPARED)) for what in ("old", "new"))
    compared = changed_lines(f"Same\n{old}\nEnd", f"Same\n{new}\nEnd")
    assert [what for what, _line in compared].count("gone") == 5 * MAX_COMPARED
    assert compared[0] == ("same", "Same") and compared[-1] == ("same", "End")


def test_lines_far_from_any_change_are_left_out():
    many = "\n".join(str(number) for number in range(50))
    compared = changed_lines(many, f"{many}\nnew")
    assert compared == [("skipped", ""), *(("same", str(number)) for number in (47, 48, 49)), ("new", "new")]
    assert changed_lines("a\r\nb", "a\nb") == [("skipped", "")]


# --- what the team did before ---


def test_a_review_shows_the_teams_decisions_with_reasons_its_suspensions_and_when_it_began(
    cast, browse, row, published
):
    rita = factories.reviewer()
    publishing.reject_version(submit(cast, published.app, "1.5"), reason="Say what it reads", by=rita)
    credentials.suspend_client(row, reason="It mailed strangers", by=rita)
    credentials.lift_client(row, reason="It was fixed", secret_leaked=False, by=rita)
    page = text(page_of(browse(rita), submit(cast, published.app, "2.0")))
    team = page[page.index("The team ") :]
    assert str(published.app.team) in team and "Unverified developer" in team
    assert "Team created" in team and "Approved: 1 · rejected: 1" in team
    assert re.search(r"Insights 1.5 Rejected Rejected · Rita .* Say what it reads", team)
    assert "It mailed strangers" in team and "It was fixed" in team and "Never suspended" not in team


def test_a_review_shows_nothing_of_other_teams(cast, browse, published):
    other, _secret = factories.client(cast.other_dev)
    draft = factories.app(cast.other_dev, other, name="Foreign")
    rita = factories.reviewer()
    publishing.reject_version(publishing.submit_version(draft, by=cast.other_dev), reason="Theirs", by=rita)
    credentials.suspend_client(other, reason="Theirs too", by=rita)
    page = text(page_of(browse(rita), submit(cast, published.app, "2.0")))
    assert "Theirs" not in page and "Foreign" not in page and "Never suspended" in page


# --- reasons ---


def test_a_ready_reason_fills_the_field_without_javascript_and_can_be_edited(cast, browse, published):
    version = submit(cast, published.app, "2.0")
    rita, url = browse(factories.reviewer()), f"{QUEUE}{version.pk}/press/reject/"
    page = rita.get(url).content.decode()
    assert 'href="?ready=listing"' in page and re.search(r"<textarea[^>]*>\s*</textarea>", page)
    filled = rita.get(f"{url}?ready=listing").content.decode()
    written = re.search(r"<textarea[^>]*>\s*(.*?)</textarea>", filled, re.S)[1]
    assert written.startswith("The description does not say what the app does")
    assert re.search(r"<textarea[^>]*>\s*</textarea>", rita.get(f"{url}?ready=made-up").content.decode())
    # What is sent is what was written, whichever text it started from.
    assert rita.post(f"{url}?ready=listing", {"reason": ""}).status_code == 422
    assert rita.post(f"{url}?ready=listing", {"reason": "Edited"}).status_code == 302
    assert Review.objects.get(version=version).reason == "Edited"


# --- the queue ---


def test_next_in_the_queue_is_the_oldest_version_that_this_reviewer_may_decide_on(cast, browse, published):
    rita = factories.reviewer()
    # The oldest is of a team of the reviewer's own.
    mine = factories.person("Mia")
    own, _secret = factories.client(mine)
    own_draft = publishing.submit_version(factories.app(mine, own, name="Own"), by=mine)
    teams.add_teammate(own_draft.app.team, rita, role=TeamRole.MEMBER, by=mine)
    other, _secret = factories.client(cast.other_dev)
    second = publishing.submit_version(factories.app(cast.other_dev, other, name="Second"), by=cast.other_dev)
    third = submit(cast, published.app, "2.0", name="Third")
    browser = browse(rita)
    assert "After this one" in text(page_of(browser, third))
    done = browser.post(f"{QUEUE}{third.pk}/press/approve/", {}, follow=True)
    assert "Next in the queue: Second 1.0" in text(done) and f"{QUEUE}{second.pk}/change/" in done.content.decode()
    assert "Next in the queue: Second 1.0" in text(page_of(browser, own_draft))
    done = browser.post(f"{QUEUE}{second.pk}/press/reject/", {"reason": "No"}, follow=True)
    assert "No other version waits for your decision." in text(done)


def test_filters_offer_the_states_that_occur_and_the_queue_comes_first(cast, browse, published):
    rita = browse(factories.reviewer())
    factories.app(cast.dev, factories.client(cast.dev)[0], name="Draft")

    def offered(address=QUEUE):
        page = rita.get(address)
        links = re.findall(r'<a class="nav-link( active)?"[^>]*>([^<]*)</a>', page.content.decode())
        return [(label, bool(active)) for active, label in links], names(page)

    assert offered() == ([("In review", True), ("Published", False), ("All", False)], [])
    review = submit(cast, published.app, "2.0")
    assert offered()[1] == ["Insights 2.0"]
    publishing.reject_version(review, reason="No", by=factories.reviewer())
    assert offered(f"{QUEUE}?status__exact=rejected") == (
        [("In review", False), ("Rejected", True), ("Published", False), ("All", False)],
        ["Insights 2.0"],
    )
    assert offered(f"{QUEUE}?status__exact=all")[1] == ["Insights 1.0", "Insights 2.0"]
    # What nobody may see here, and what is no state.
    for wrong in ("draft", "%00", "x"):
        assert "Draft 1.0" not in text(rita.get(f"{QUEUE}?status__exact={wrong}"))


def test_a_longer_queue_and_a_longer_history_take_no_more_queries(cast, browse, published):
    rita, version = browse(factories.reviewer()), submit(cast, published.app, "2.0")

    def taken():
        counts = []
        for page in (QUEUE, f"{QUEUE}{version.pk}/change/"):
            with CaptureQueriesContext(connection) as queries:
                assert rita.get(page).status_code == 200
            counts.append(len(queries))
        return counts

    taken()
    few = taken()
    for number in range(3, 9):
        later = submit(cast, published.app, f"{number}.0", required_scopes=[VIEW, EDIT])
        if number % 2:
            publishing.reject_version(later, reason="No", by=factories.reviewer())
    assert taken() == few
