"""Lists are searched, filtered, sorted and counted alike: My access, Installed apps, credentials and apps."""

import datetime as dt
import re

import pytest

from consent.models import Access, Consent
from credentials.models import Client, Kind, Level
from marketplace.actions import installing
from marketplace.models import App
from portal.foundation import lists
from portal.foundation.pages import paginate
from tests import factories
from tests.volume import multiply
from tests.worlds import shared

pytestmark = pytest.mark.django_db
LISTS = ("credentials", "apps", "installed", "external", "access")


@shared
def url(cast):
    """{list: (who opens it, its address)}, each with seven rows, of which the older have the lower numbers."""
    for number in range(7):
        level = Level.AGENT if number % 2 else Level.ACCOUNT
        inside, _secret = factories.client(cast.dev, name=f"Inside n{number}", level=level)
        outside, _secret = factories.client(cast.dev, name=f"Outside n{number}", kind=Kind.EXTERNAL, level=level)
        version = factories.app(cast.dev, inside, name=f"Inside n{number}", install_url="https://app.example/in")
        factories.publish(version, cast.dev)
        installing.install(version.app, cast.acme, by=cast.admin)
        factories.agree(outside, cast.acme, cast.admin, requested={factories.VIEW})
        mine, _secret = factories.client(cast.dev, name=f"Mine n{number}", kind=Kind.EXTERNAL, level=Level.AGENT)
        factories.agree(mine, cast.globex, cast.globex_agent, requested={factories.VIEW})
    of_acme = (cast.admin, f"/installations/?account={cast.acme.slug}")
    return {
        "credentials": (cast.dev, "/credentials/?"),
        "apps": (cast.dev, "/apps/?"),
        "installed": of_acme,
        "external": of_acme,
        "access": (cast.globex_agent, "/authorizations/?"),
    }


@pytest.fixture
def opened(url, browse):
    def open_(which, more=""):
        who, address = url[which]
        return browse(who).get(address + more)

    return open_


def rows(response, which):
    page = response.context["external" if which == "external" else "page_obj"]
    names = {
        Client: lambda row: row.name,
        App: lambda row: row.name,
        Access: lambda row: row.client.name,
        Consent: lambda row: row.access.name,
    }
    return [names.get(type(row), lambda row: row.version.name)(row) for row in page]


def text(response):
    return re.sub(r"\s+", " ", response.content.decode())


@pytest.mark.parametrize("which", LISTS)
def test_words_find_the_rows_that_have_all_of_them(opened, which):
    word = {"external": "outside", "access": "mine"}.get(which, "inside")
    assert rows(opened(which, f"&q=n5+{word}"), which) == [f"{word.title()} n5"]
    nothing = opened(which, "&q=nothing+n5")
    assert rows(nothing, which) == [] and nothing.status_code == 200
    assert re.search(r'class="btn btn-primary" href="[^"]*">Clear filters', text(nothing))


@pytest.mark.parametrize(
    ("which", "more", "found"),
    [
        ("credentials", "&kind=platform&level=agent", ["Inside n5", "Inside n3", "Inside n1"]),
        (
            "credentials",
            "&kind=nonsense&level=account&q=outside",
            ["Outside n6", "Outside n4", "Outside n2", "Outside n0"],
        ),
        ("apps", "&credentials=some&q=inside+n6", ["Inside n6"]),
        ("apps", "&credentials=none", []),
        ("installed", "&level=agent", ["Inside n1", "Inside n3", "Inside n5"]),
        ("external", "&level=account&sort=newest", ["Outside n6", "Outside n4", "Outside n2", "Outside n0"]),
        ("access", "&state=over", []),
        ("access", "&state=live&q=globex+n6", ["Mine n6"]),
    ],
)
def test_filters_narrow_a_list_and_unknown_ones_do_not(opened, which, more, found):
    assert rows(opened(which, more), which) == found


@pytest.mark.parametrize("which", LISTS)
def test_people_choose_the_order(opened, which):
    by_name, newest = (rows(opened(which, f"&sort={sort}"), which) for sort in ("name", "newest"))
    assert newest == sorted(newest, key=lambda name: name[-1], reverse=True)
    if which != "apps":
        assert by_name == sorted(by_name)
    assert rows(opened(which, "&sort=nonsense"), which) == rows(opened(which), which)


@pytest.mark.parametrize("which", LISTS)
def test_filters_survive_paging_and_rows_are_counted(opened, which, monkeypatch):
    monkeypatch.setitem(paginate.__kwdefaults__, "per_page", 3)
    name = "external" if which == "external" else "page_obj"
    page = opened(which, "&q=e&sort=newest").context[name]
    assert page.paginator.count >= 7
    assert "q=e" in page.next_url and "sort=newest" in page.next_url
    second = opened(which, f"&q=e&sort=newest&{'external' if which == 'external' else 'page'}=2")
    assert len(rows(second, which)) == 3 and not {*rows(second, which)} & {
        *rows(opened(which, "&q=e&sort=newest"), which)
    }


def test_a_list_says_how_long_it_is_and_a_short_one_has_no_search(opened, browse, cast):
    assert "21 sets of credentials" in text(opened("credentials"))
    assert "7 apps" in text(opened("apps")) and "7 authorizations" in text(opened("access"))
    assert text(opened("installed")).count("7 apps") == 2
    assert 'role="search"' not in text(browse(cast.agent).get("/authorizations/"))


@pytest.mark.parametrize("which", LISTS)
def test_only_the_newest_rows_are_searched_and_the_page_says_so(opened, which, monkeypatch):
    monkeypatch.setattr(lists, "SEARCHED", 3)
    found = opened(which, "&q=e&sort=newest")
    assert len(rows(found, which)) <= 3 and "Only the newest 3 were searched." in text(found)
    assert "were searched" not in text(opened(which))


def test_a_whole_client_id_is_found_however_old_the_credentials_are(opened, monkeypatch, cast, browse):
    monkeypatch.setattr(lists, "SEARCHED", 3)
    oldest = Client.objects.earliest("created")
    assert rows(opened("credentials", f"&q={oldest.client_id}"), "credentials") == [oldest.name]
    assert rows(browse(cast.other_dev).get(f"/credentials/?q={oldest.client_id}"), "credentials") == []


def test_a_list_that_is_too_long_to_be_sorted_says_so(cast, url, opened):
    oldest = Client.objects.filter(team=factories.team_of(cast.dev)).earliest("created")
    multiply(
        oldest,
        260,
        id=f"{oldest.pk} + 1000000 + n",
        client_id="'many-' || n",
        created="created - n * interval '1 day'",
    )
    page = opened("credentials", "&sort=name")
    assert "too long to sort by name" in text(page) and rows(page, "credentials")[0] == "Mine n6"


def test_nobody_finds_what_is_not_theirs(url, browse, cast):
    assert rows(browse(cast.other_dev).get("/credentials/?q=inside"), "credentials") == []
    assert rows(browse(cast.other_dev).get("/apps/?q=inside"), "apps") == []
    assert rows(browse(cast.agent).get("/authorizations/?q=mine"), "access") == []
    assert (
        rows(browse(cast.globex_admin).get(f"/installations/?account={cast.globex.slug}&q=inside"), "installed") == []
    )


def test_ended_access_is_found_by_its_state(opened, cast):
    one = Consent.objects.filter(granted_by=cast.globex_agent).latest("granted_at")
    Consent.objects.filter(pk=one.pk).update(expires_at=one.granted_at + dt.timedelta(microseconds=1))
    assert rows(opened("access", "&state=over"), "access") == ["Mine n6"]
    assert len(rows(opened("access", "&state=live"), "access")) == 6
