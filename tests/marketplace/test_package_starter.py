"""The package that an app's page offers to start from."""

import pytest

from credentials import actions
from credentials.models import Level, Product
from marketplace.package.checking import check_archive
from marketplace.package.facts import Facts
from tests import factories
from tests.factories import EDIT, VIEW

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("level", Level.values)
@pytest.mark.parametrize("address", ["", "https://desk.octo.dev"])
def test_the_starter_has_the_apps_client_id_and_passes_the_checks(cast, browse, level, address):
    actions.set_base_address(Product.objects.get(), base_address=address, by=None)
    app = factories.app(cast.dev, factories.client(cast.dev, level=level)[0]).app
    page = browse(cast.dev).get(f"/apps/{app.slug}/").content.decode()
    answer = browse(cast.dev).get(f"/apps/{app.slug}/starter.zip")
    assert f"/apps/{app.slug}/starter.zip" in page and "starter.zip" in answer["Content-Disposition"]
    report = check_archive(answer.content, Facts(app))
    assert report.valid and (report.problems, report.changes) == ([], [])
    ours = report.files["config/oauth_config.json"]["integrations"]["portal"]
    assert (ours["client_id"], ours["token_type"]) == (app.client.client_id, level)
    assert ours["options"]["scope"] == f"{EDIT} {VIEW}"
    # A request needs a product that is served somewhere.
    assert bool(address) == ("config/requests.json" in report.files)


def test_an_app_without_credentials_has_none(cast, browse):
    app = factories.app(cast.dev, None, required_scopes=[]).app
    assert browse(cast.dev).get(f"/apps/{app.slug}/starter.zip").status_code == 404
    assert "starter.zip" not in browse(cast.dev).get(f"/apps/{app.slug}/").content.decode()
