"""The marketplace for whoever comes: signed out or in, what is listed for whom, sorted and filtered, and what a listing says."""

import re

import pytest
from django.test import Client as Browser

from consent.actions import ending
from credentials import actions as credentials
from credentials.models import Level
from marketplace.actions import installing, publishing
from portal.accounts.actions import accounts, memberships
from tests import factories
from tests.browsing import squeeze
from tests.marketplace.versions import next_version
from tests.people.forms import text
from tests.volume import Copies, multiply

pytestmark = pytest.mark.django_db


def published(cast, name, **fields):
    return factories.publish(factories.app(cast.dev, factories.client(cast.dev)[0], name=name, **fields), cast.dev)


def names(browser, **query):
    page = browser.get("/marketplace/", query)
    assert page.status_code == 200
    return [version.name for version in page.context["page_obj"]]


def html(response):
    return squeeze(response.content.decode())


@pytest.fixture
def agents_app(cast):
    client = factories.client(cast.dev, level=Level.AGENT)[0]
    draft = factories.app(cast.dev, client, name="Helper", install_url="https://app.example/install")
    return factories.publish(draft, cast.dev).app


# --- without signing in ---


def test_who_is_not_signed_in_sees_what_is_public_and_nothing_else(cast, draft):
    url, stranger = f"/marketplace/{draft.app.slug}/", Browser()
    public = published(cast, "Open", icon=b"png")
    assert stranger.get(url).status_code == 404, "a draft"
    publishing.publish_custom(draft, accounts={cast.acme.slug}, by=cast.dev)
    assert stranger.get(url).status_code == stranger.get(f"{url}icon/{draft.pk}/").status_code == 404, "a custom one"
    assert names(stranger) == ["Open"]
    shop = f"/marketplace/{public.app.slug}/"
    assert stranger.get(shop).status_code == stranger.get(f"{shop}icon/{public.pk}/").status_code == 200
    next_version(public.app, cast.dev, custom={cast.acme.slug}, name="For Acme")
    assert names(stranger) == ["Open"] and "For Acme" not in text(stranger.get(shop))
    credentials.suspend_client(public.app.client, reason="Harmful", by=factories.reviewer())
    assert names(stranger) == []
    assert stranger.get(shop).status_code == stranger.get(f"{shop}icon/{public.pk}/").status_code == 404, "suspended"
    credentials.lift_client(public.app.client, reason="Fine", secret_leaked=False, by=factories.reviewer())
    publishing.withdraw_version(public, reason="Broken", by=cast.dev)
    assert names(stranger) == []
    assert stranger.get(shop).status_code == stranger.get(f"{shop}icon/{public.pk}/").status_code == 404, "withdrawn"


def test_install_leads_to_signing_in_and_back(cast, published_version):
    url, stranger = f"/marketplace/{published_version.app.slug}/", Browser()
    assert f'href="{url}install/"' in html(stranger.get(url))
    sent = stranger.get(f"{url}install/")["Location"]
    assert sent == f"/accounts/login/?next={url}install/"
    back = stranger.post(sent, {"login": cast.admin.email, "password": factories.PASSWORD}, follow=True)
    assert back.redirect_chain[-1][0] == f"{url}install/" and "Install in Acme" in text(back)


# --- lists ---


def test_apps_are_sorted_by_relevance_time_or_name(cast, ada):
    for name, tagline in (("Zebra radar", "x"), ("Aardvark", "Works with radar"), ("Mole", "Digs")):
        published(cast, name, tagline=tagline)
    assert names(ada) == names(ada, sort="newest") == names(ada, sort="made-up") == ["Mole", "Aardvark", "Zebra radar"]
    assert names(ada, sort="name") == ["Aardvark", "Mole", "Zebra radar"]
    assert names(ada, q="radar") == names(ada, q="radar", sort="relevance") == ["Zebra radar", "Aardvark"]
    assert names(ada, q="radar", sort="newest") == names(ada, q="radar", sort="name") == ["Aardvark", "Zebra radar"]
    assert names(ada, sort="relevance") == names(ada), "nothing is more relevant than another without a search"


def test_the_category_is_that_of_the_version_that_is_listed(cast, ada):
    version = published(cast, "Desk", category="hr")
    assert names(ada, category="hr") == ["Desk"] and names(ada, category="security") == []
    next_version(version.app, cast.dev, name="Desk", category="security", custom={cast.acme.slug})
    assert names(ada, category="security") == ["Desk"] and names(ada, category="hr") == []
    assert names(Browser(), category="hr") == ["Desk"]
    assert "Security" in text(ada.get(f"/marketplace/{version.app.slug}/"))


def grown(version, count):
    """Publish as many copies of an app, of which each listing follows."""
    copies = Copies("many")
    client, app = version.app.client, version.app
    multiply(client, count, id=copies.number, client_id="'many' || n")
    for held in client.scopes.all():
        multiply(held, count, id=f"{copies.number} + {held.pk} * 100000", client_id=copies.number)
    multiply(app, count, id=copies.number, slug="'many-' || n", client_id=copies.number)
    multiply(
        version, count, id=copies.number, app_id=copies.number, published_at="published_at - n * interval '1 second'"
    )


def test_filters_survive_paging_and_apps_are_counted(cast, ada):
    version = published(cast, "Desk", category="hr", tagline="Radar")
    assert "1 app" in text(ada.get("/marketplace/"))
    grown(version, 60)
    page = ada.get("/marketplace/?q=radar&category=hr&sort=name&page=2")
    assert "61 apps" in text(page) and len(page.context["page_obj"]) == 25
    links = re.findall(r'rel="(?:prev|next)" href="([^"]+)"', page.content.decode())
    assert links == [f"?q=radar&amp;category=hr&amp;sort=name&amp;page={number}" for number in (1, 3)]
    shown = html(page)
    assert 'value="hr" selected' in shown and 'value="name" selected' in shown and 'value="radar"' in shown


def test_beyond_a_thousand_the_count_says_more_and_a_search_is_not_ranked(cast, ada):
    version = published(cast, "Desk", tagline="Radar")
    grown(version, 1000)
    page = text(ada.get("/marketplace/?q=radar"))
    assert "More than 1,000 apps" in page and "the newest come first" in page
    assert "the newest come first" not in text(ada.get("/marketplace/?q=radar&sort=name"))
    assert names(ada, q="radar", sort="name", page=41) and names(ada, page=41)


def test_an_empty_list_names_the_next_step(cast, ada, browse):
    assert "Apps appear here once their developers publish them." in text(ada.get("/marketplace/"))
    assert "Build an app" in text(browse(cast.dev).get("/marketplace/"))
    for query in ("?q=nothing", "?category=hr"):
        page = html(ada.get(f"/marketplace/{query}"))
        assert (
            "Try other words or another category." in page
            and '<a class="btn btn-primary" href="/marketplace/">' in page
        )


def test_cards_say_what_is_installed_in_the_account_that_one_works_in(cast, browse, installed, agents_app):
    factories.agree(installed.client, cast.acme, cast.admin)
    installing.install(agents_app, cast.globex, by=cast.globex_admin)
    memberships.add_member(cast.globex, cast.admin, role="agent", by=None)
    ada = browse(cast.admin)

    def marked():
        page = ada.get("/marketplace/?sort=name")
        return [version.name for version in page.context["page_obj"] if version.is_installed]

    assert marked() == ["Insights"] and html(ada.get("/marketplace/")).count(">Installed<") == 1
    ada.get(f"/installations/?account={cast.globex.slug}")
    assert marked() == ["Helper"]
    assert "Installed" not in text(browse(cast.dev).get("/marketplace/")).replace("Installed apps", "")


# --- a listing ---


def test_a_listing_says_what_the_app_is_and_whose(cast, agents_app, published_version):
    stranger = Browser()
    page = text(stranger.get(f"/marketplace/{published_version.app.slug}/"))
    for words in ("Version", "1.0", "Released", "Category", "Other", "Publisher", "Unverified developer", "View tickets",
                  "An admin installs it and agrees for the whole account."):  # fmt: skip
        assert words in page, words
    assert "Each agent authorizes it for themselves." in text(stranger.get(f"/marketplace/{agents_app.slug}/"))


def test_the_release_history_has_what_the_reader_may_install_newest_first(cast, ada, browse, published_version):
    app = published_version.app
    next_version(app, cast.dev, "1.1", release_notes="Better")
    next_version(app, cast.dev, "1.2", custom={cast.acme.slug}, release_notes="Only for Acme")
    broken = next_version(app, cast.dev, "1.3", release_notes="Worse")
    publishing.withdraw_version(broken, reason="Broken", by=cast.dev)
    url = f"/marketplace/{app.slug}/"
    assert [each.number for each in ada.get(url).context["releases"]] == ["1.2", "1.1", "1.0"]
    for browser in (Browser(), browse(cast.globex_admin), browse(cast.dev)):
        page = browser.get(url)
        assert [each.number for each in page.context["releases"]] == ["1.1", "1.0"]
        assert "Only for Acme" not in text(page) and "Better" in text(page) and "Worse" not in text(page)


def test_a_long_history_says_that_it_goes_on(cast, ada, published_version):
    for number in range(2, 12):
        next_version(published_version.app, cast.dev, f"{number}.0")
    page = ada.get(f"/marketplace/{published_version.app.slug}/")
    assert len(page.context["releases"]) == 10 and "Older releases are not shown." in text(page)


def acts(browser, app):
    """Return the links of a listing's acts, and its text about them."""
    page = browser.get(f"/marketplace/{app.slug}/").content.decode()
    block = re.search(r'<div class="acts">(.*?)</div>', page, re.S)[1]
    return re.findall(r"<a [^>]*>\s*(.*?)\s*</a>", block, re.S), " ".join(re.sub(r"<[^>]+>", " ", block).split())


def test_an_agent_sees_that_an_app_is_installed_and_authorizes_it_for_themselves(cast, browse, agents_app):
    axel, ada = browse(cast.agent), browse(cast.admin)
    assert acts(axel, agents_app) == ([], "Ask an admin of Acme to install it.")
    assert acts(ada, agents_app)[0] == ["Install"]
    installation = installing.install(agents_app, cast.acme, by=cast.admin)
    for browser in (axel, ada):
        links, said = acts(browser, agents_app)
        assert links == ["Authorize", "Open"] and said.startswith("Installed in Acme")
    consent = factories.agree(agents_app.client, cast.acme, cast.agent)
    assert acts(axel, agents_app)[0] == ["Open"] and acts(ada, agents_app)[0] == ["Authorize", "Open"]
    ending.revoke_consent(consent, by=cast.agent)
    assert acts(axel, agents_app)[0] == ["Reauthorize", "Open"]
    accounts.suspend_account(installation.account, reason="Unpaid", by=None)
    assert acts(axel, agents_app)[0] == ["Open"]


def test_who_administers_another_account_installs_it_there(cast, browse, published_version):
    memberships.add_member(cast.globex, cast.admin, role="admin", by=None)
    app, ada = published_version.app, browse(cast.admin)
    installation = installing.install(app, cast.acme, by=cast.admin)
    assert acts(ada, app)[0] == ["Finish installing", "Open", "Install in another account"]
    factories.agree(installation.access.client, cast.acme, cast.admin)
    assert acts(ada, app)[0] == ["Open", "Install in another account"]
    ada.get(f"/installations/?account={cast.globex.slug}")
    assert acts(ada, app)[0] == ["Install"]


def test_who_belongs_to_no_account_reads_who_can_install(cast, browse, published_version):
    assert acts(browse(factories.person("Nia", team=False)), published_version.app) == (
        [],
        "Only an account admin can install it.",
    )
