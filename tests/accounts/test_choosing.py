"""Where a person has many accounts, pages let them search for one, and never list them all."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from portal.accounts.choosing import MOST
from portal.accounts.models import Account
from tests import factories
from tests.browsing import squeeze
from tests.oauth import authorize_url, pkce
from tests.volume import grow_accounts

pytestmark = pytest.mark.django_db
MANY = 500
# What nobody's account but Acme is called.
OTHER = "Many 77"


def text(response):
    assert response.status_code == 200, response.content[:300]
    return squeeze(response.content.decode())


def pages_of(side):
    return [
        "/installations/",
        "/installations/overview/",
        "/ledger/",
        f"/marketplace/{side.version.app.slug}/install/",
        authorize_url(side.client, pkce()[1], prompt="select_account"),
    ]


def searched(address, words):
    return f"{address}{'&' if '?' in address else '?'}find={words}"


@pytest.fixture
def crowded(installed, cast):
    """Acme's admin with hundreds of accounts more."""
    factories.agree(installed.client, cast.acme, cast.admin)
    grow_accounts(installed.installation, cast.admin, MANY)
    return installed


def test_many_accounts_are_searched_by_name_and_address_and_never_listed_whole(crowded, cast, browse):
    ada = browse(cast.admin)
    for address in pages_of(crowded):
        page = text(ada.get(address))
        assert 'name="find"' in page and page.count("Many ") <= 3, address
        for words in (OTHER, OTHER.lower(), "77 man", "accounts-77"):
            assert OTHER in text(ada.get(searched(address, words))), (address, words)
        some = text(ada.get(searched(address, "many")))
        assert MOST <= some.count("Many ") <= 2 * MOST + 3 and "More names match." in some, address
        none = text(ada.get(searched(address, "no such thing")))
        assert "No names match. Try another one." in none and OTHER not in none, address


def test_whatever_is_typed_is_answered(crowded, cast, browse):
    ada = browse(cast.admin)
    for address in pages_of(crowded):
        for words in ("%", "_", "'", "%00", "a" * 5000, "%F0%9F%98%80", "\\", "%20"):
            assert ada.get(searched(address, words)).status_code in (200, 400), (address, words)


def test_only_ones_own_accounts_are_found(crowded, cast, browse):
    globex = cast.globex
    for address in pages_of(crowded):
        assert globex.name not in text(browse(cast.admin).get(searched(address, globex.slug))), address


def test_an_agent_of_many_accounts_is_offered_none_to_administer(crowded, cast, browse):
    cast.admin.memberships.update(role="agent")
    ada = browse(cast.admin)
    assert ada.get("/installations/overview/?find=many").status_code == 404
    install = text(ada.get(searched(f"/marketplace/{crowded.version.app.slug}/install/", "many")))
    assert (
        "You are not an admin of any account. Ask an admin of your account to install the app." in install
        and "Many " not in install
    )
    assert "Only an admin can agree" in text(ada.get(searched(pages_of(crowded)[-1], OTHER)))


def test_what_is_found_leads_to_that_account_and_keeps_the_rest_of_the_request(crowded, cast, browse):
    ada = browse(cast.admin)
    other = Account.objects.get(name=OTHER)
    assert OTHER in text(ada.get(f"/installations/?account={other.slug}"))
    assert OTHER in text(ada.get(f"/installations/overview/?account={other.slug}"))
    assert f'value="{other.chain_name}" selected' in text(ada.get(f"/ledger/?chain={other.chain_name}"))
    asked = authorize_url(crowded.client, pkce()[1], prompt="select_account")
    page = ada.get(searched(asked, OTHER))
    choice = next(each for each in page.context["choices"] if each["account"] == other)
    assert f"account={other.slug}" in choice["url"] and "find=" not in choice["url"] and "state=xyz" in choice["url"]
    assert ada.get(choice["url"]).context["screen"].account == other
    for name in ("client_id", "state", "code_challenge", "redirect_uri"):
        assert f'type="hidden" name="{name}"' in text(page), name


def test_few_accounts_are_all_shown_by_name_without_a_search(installed, cast, browse):
    factories.agree(installed.client, cast.acme, cast.admin)
    grow_accounts(installed.installation, cast.admin, MOST - 1)
    ada = browse(cast.admin)
    for address in pages_of(installed):
        page = text(ada.get(searched(address, "zzz")))
        assert 'name="find"' not in page and all(f"Many {number}" in page for number in range(1, MOST)), address
        assert page.index("Acme") < page.index("Many 1") or address == "/ledger/", address


def test_choosing_reads_no_more_accounts_for_thousands_than_for_hundreds(crowded, cast, browse):
    ada = browse(cast.admin)

    def queries():
        taken = []
        for address in pages_of(crowded):
            with CaptureQueriesContext(connection) as queries:
                assert ada.get(searched(address, OTHER)).status_code == 200
            taken.append(len(queries))
        return taken

    # The session remembers an account from its first page on.
    queries()
    few = queries()
    grow_accounts(crowded.installation, cast.admin, 2000, "more")
    assert queries() == few
