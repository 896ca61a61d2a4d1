"""What waits for an admin: one line for each installation, until they decided or it was superseded."""

import pytest

from marketplace import actions
from marketplace.models import Offer
from tests import factories
from tests.factories import CREATE, DELETE, VIEW
from tests.marketplace.versions import next_version
from tests.people.forms import text

pytestmark = pytest.mark.django_db


def waiting():
    return list(Offer.objects.pending().values_list("installation__account__slug", "version__number"))


def test_it_is_one_line_however_many_versions_were_published_since(agreed, cast, browse):
    app = agreed.version.app
    first = next_version(app, cast.dev, "1.1", required_scopes=[VIEW, CREATE])
    assert waiting() == [(cast.acme.slug, "1.1")]
    second = next_version(app, cast.dev, "1.2", required_scopes=[VIEW, CREATE, DELETE])
    assert waiting() == [(cast.acme.slug, "1.2")]
    assert [actions.progress(version)["waiting"] for version in (first, second)] == [0, 1]
    ada = browse(cast.admin)
    page = text(ada.get("/installations/waiting/"))
    assert page.count("Read and decide") == 1 and "1.2" in page and "1.1" not in page
    assert "1 new version of an app" in text(ada.get("/"))
    actions.decline_upgrade(agreed.installation, second, by=cast.admin)
    assert waiting() == [] and "Nothing waits" in text(ada.get("/installations/waiting/"))
    assert "new version" not in text(ada.get("/"))


def test_the_one_before_waits_again_once_the_newest_is_withdrawn(agreed, cast):
    next_version(agreed.version.app, cast.dev, "1.1", required_scopes=[VIEW, CREATE])
    second = next_version(agreed.version.app, cast.dev, "1.2", required_scopes=[VIEW, CREATE])
    actions.withdraw_version(second, reason="Too early", by=cast.dev)
    assert waiting() == [(cast.acme.slug, "1.1")]


def test_a_version_for_chosen_accounts_supersedes_for_those_only(agreed, cast):
    installation = actions.install(agreed.version.app, cast.globex, by=cast.globex_admin)
    factories.agree(agreed.client, cast.globex, cast.globex_admin)
    next_version(agreed.version.app, cast.dev, "1.1", required_scopes=[VIEW, CREATE])
    next_version(agreed.version.app, cast.dev, "1.2", custom={cast.acme.slug}, required_scopes=[VIEW, CREATE])
    assert sorted(waiting()) == [(cast.acme.slug, "1.2"), (cast.globex.slug, "1.1")]
    actions.withdraw_version(agreed.version, reason="Over", by=cast.dev)
    assert sorted(waiting()) == [(cast.acme.slug, "1.2"), (cast.globex.slug, "1.1")]
    assert Offer.objects.filter(installation=installation).count() == 1


def test_where_nothing_was_left_that_is_what_waits_until_there_is_something(agreed, cast):
    actions.withdraw_version(agreed.version, reason="Over", by=cast.dev)
    assert waiting() == [(cast.acme.slug, None)]
    next_version(agreed.version.app, cast.dev, "1.1", required_scopes=[VIEW, CREATE])
    assert waiting() == [(cast.acme.slug, "1.1")]
