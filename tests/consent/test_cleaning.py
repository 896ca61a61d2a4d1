"""T3, as people see it: how far the cleaning up after an end is, until the final numbers are there."""

import pytest

from consent.actions import ending
from consent.models import Access
from portal.ledger.models import Entry
from tests import factories
from tests.people.forms import text
from tests.portal.test_ledger import tamper

pytestmark = pytest.mark.django_db
GOES_ON, DONE = "The portal is still cleaning up.", "These numbers are final"


def fragment_of(entry):
    return f"/receipts/{entry.pk}/progress/"


def is_watched(page, entry):
    """Tell whether a page goes on to ask how far the cleaning up is, and leads there without JavaScript."""
    html = page.content.decode()
    asks = f'data-progress="{fragment_of(entry)}"' in html
    assert asks == ("Check again" in html)
    return asks


def test_after_an_uninstall_its_page_and_receipt_say_how_far_the_cleanup_is_until_the_final_numbers(used, cast, browse):
    ada, page = browse(cast.admin), f"/installations/{used.installation.pk}/"
    ada.post(f"{page}uninstall/")
    entry = Entry.objects.get(event="access.ended")
    # Also when loaded again: nothing is kept in the browser.
    for path in (page, page, f"/receipts/{entry.pk}/", fragment_of(entry)):
        answer = ada.get(path)
        assert is_watched(answer, entry) and GOES_ON in text(answer), path
        assert "stopped working at once" in text(answer) and "Counting authorizations and access tokens" in text(answer)
    ending.revoke_tokens(Access.objects.get())
    for path in (fragment_of(entry), page, f"/receipts/{entry.pk}/"):
        answer = ada.get(path)
        assert not is_watched(answer, entry) and DONE in text(answer), path
        assert "2 authorizations that the app can renew on its own 3 access tokens" in text(answer)


def test_after_revoking_for_all_the_apps_page_says_so_until_it_is_cleaned_up(installed_agent, cast, browse):
    for agent in (cast.agent, cast.agent2):
        factories.agree(installed_agent.client, cast.acme, agent)
    ada, access = browse(cast.admin), Access.objects.get()
    page = f"/installations/{installed_agent.installation.pk}/"
    ada.post(f"/authorizations/{access.pk}/revoke-for-all/")
    entry = Entry.objects.get(event="consent.revoked_for_all")
    for path in (page, page, fragment_of(entry)):
        answer = ada.get(path)
        assert is_watched(answer, entry) and GOES_ON in text(answer) and "2 agreements (2 by agents)" in text(answer)
    # Somebody who authorizes it again meanwhile changes nothing about that.
    factories.agree(installed_agent.client, cast.acme, cast.agent)
    assert is_watched(ada.get(page), entry)
    assert GOES_ON not in text(browse(cast.agent).get(page)), "agents see only what they agreed to themselves"
    ending.revoke_tokens(access)
    answer = ada.get(fragment_of(entry))
    assert not is_watched(answer, entry) and DONE in text(answer) and "2 agreements (2 by agents)" in text(answer)
    assert DONE not in text(ada.get(page)) and not is_watched(ada.get(page), entry)


def test_an_external_apps_page_says_it_too(external, cast, browse):
    access = factories.agree(external.client, cast.acme, cast.admin).access
    ada = browse(cast.admin)
    ada.post(f"/authorizations/{access.pk}/end/")
    entry = Entry.objects.get(event="access.ended")
    assert is_watched(ada.get(f"/authorizations/{access.pk}/"), entry)
    ending.revoke_tokens(access)
    answer = ada.get(f"/authorizations/{access.pk}/")
    assert not is_watched(answer, entry) and DONE in text(answer) and "1 agreement" in text(answer)


def test_other_receipts_have_no_progress_and_an_altered_one_shows_nothing(used, cast, browse):
    ada = browse(cast.admin)
    assert ada.get(fragment_of(Entry.objects.get(event="consent.granted"))).status_code == 404
    ada.post(f"/installations/{used.installation.pk}/uninstall/")
    entry = Entry.objects.get(event="access.ended")
    tamper("UPDATE ledger_entry SET details = details || '{\"consents\": 9}' WHERE id = %s", entry.pk)
    assert ada.get(fragment_of(entry)).status_code == 409
    page = ada.get(f"/installations/{used.installation.pk}/")
    assert page.status_code == 200 and "9 agreements" not in text(page)
