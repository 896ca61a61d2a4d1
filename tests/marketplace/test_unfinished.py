"""An installation that nobody agreed to is “not finished” everywhere and not counted; a suspended one hides nothing."""

import re

import pytest

from consent.actions import ending
from consent.reasons import AccessEnd
from credentials import actions as credentials
from credentials.models import Kind, Level
from marketplace.actions import installing, publishing
from marketplace.models import Installation, Offer
from portal.accounts.actions import accounts
from tests import factories
from tests.factories import CREATE, EDIT, VIEW, version_fields
from tests.marketplace import packages
from tests.people.forms import text

pytestmark = pytest.mark.django_db


def installed_now():
    return set(Installation.objects.installed().values_list("pk", flat=True))


def install_package(cast, *, scopes=True, vendors=True):
    """Install a package with vendors, with scopes of its own, with both or with neither."""
    row = factories.client(cast.dev)[0]
    files = packages.planner(row)
    integrations = files["config/oauth_config.json"]["integrations"]
    files["config/oauth_config.json"]["integrations"] = {
        name: one for name, one in integrations.items() if (scopes if name == "portal" else vendors)
    }
    if not vendors:
        files["config/requests.json"], files["manifest.json"]["modules"]["common"]["requests"] = {}, {}
    app = publishing.create_app(
        factories.team_of(cast.dev), slug=f"made-{scopes}-{vendors}".lower(),
        client=row if scopes else None, by=cast.dev,
    )  # fmt: skip
    version = publishing.create_version(app, by=cast.dev, **version_fields(required_scopes=[]))
    publishing.change_version(version, by=cast.dev, package=files)
    publishing.publish_custom(version, accounts={cast.acme.slug}, by=cast.dev)
    return installing.install(app, cast.acme, by=cast.admin)


def test_an_installation_counts_as_installed_once_somebody_agreed(installed, cast):
    pk = installed.installation.pk
    assert not installing.is_begun(installed.installation) and pk not in installed_now()
    factories.agree(installed.client, cast.acme, cast.admin)
    assert installing.is_begun(installed.installation) and pk in installed_now()
    installing.uninstall(installed.installation, by=cast.admin)
    assert pk not in installed_now()


@pytest.mark.parametrize(
    ("scopes", "vendors", "counts"),
    [(True, True, False), (False, True, False), (True, False, False), (False, False, True)],
)
def test_an_app_counts_as_installed_at_once_only_if_there_is_nothing_to_agree_to(cast, scopes, vendors, counts):
    installation = install_package(cast, scopes=scopes, vendors=vendors)
    assert installing.is_begun(installation) == (installation.pk in installed_now()) == counts


def test_an_agent_level_app_counts_as_installed_once_an_admin_installed_it(installed_agent):
    assert installed_agent.installation.pk in installed_now()


def test_no_page_counts_an_unfinished_installation_or_calls_it_installed(installed, cast, browse):
    ada, dev, app = browse(cast.admin), browse(cast.dev), installed.version.app
    page, withdraw = (
        f"/installations/{installed.installation.pk}/",
        f"/apps/{app.slug}/versions/{installed.version.pk}/withdraw/",
    )
    draft = publishing.create_version(app, by=cast.dev, **version_fields("1.1"))
    changes = f"/apps/{app.slug}/versions/{draft.pk}/changes/"

    def counted_as_installed():
        return {
            "home": "1 app installed" in text(ada.get("/")),
            "overview": "Insights" in text(ada.get("/installations/overview/")),
            "listing": "Open in Acme (already installed)" in text(ada.get(f"/marketplace/{app.slug}/install/")),
            "page": bool(re.search(r"<dt>\s*Installed\s*</dt>", ada.get(page).content.decode())),
            "withdrawing": dev.get(withdraw).context["count"] == 1,
            "forecast": [row.pk for row in dev.get(changes).context["page_obj"]] == [installed.installation.pk],
        }

    assert set(counted_as_installed().values()) == {False}, counted_as_installed()
    shop = f"/marketplace/{app.slug}/"
    for path in ("/installations/", page, shop):
        assert "Not finished" in text(ada.get(path)) and "Finish installing" in text(ada.get(path)), path
    assert "Not finished" in text(ada.get("/marketplace/"))
    assert "Finish installing in Acme" in text(ada.get(f"{shop}install/"))
    for path in ("/installations/", page, shop):
        shown = text(browse(cast.agent).get(path))
        assert "Not finished" in shown and "Finish installing" not in shown, path
    assert "0 apps installed" in text(ada.get("/"))
    factories.agree(installed.client, cast.acme, cast.admin)
    assert set(counted_as_installed().values()) == {True}, counted_as_installed()
    for path in ("/installations/", page, shop, "/marketplace/"):
        assert "Finish installing" not in text(ada.get(path)) and "Not finished" not in text(ada.get(path)), path


def test_a_version_is_offered_to_an_installation_once_somebody_agreed(installed, cast):
    credentials.add_scopes(installed.client, scopes={CREATE: "It grew"}, by=cast.dev)
    fields = version_fields("1.1", required_scopes=[VIEW, CREATE])
    factories.publish(publishing.create_version(installed.version.app, by=cast.dev, **fields), cast.dev)
    assert not Offer.objects.pending().exists() and not Offer.objects.to_tell().exists()
    factories.agree(installed.client, cast.acme, cast.admin)
    assert Offer.objects.pending().count() == Offer.objects.to_tell().count() == 1


@pytest.mark.parametrize("what", ["client", "account"])
def test_a_suspended_installation_still_shows_what_was_agreed_to(installed, external, cast, browse, what):
    factories.agree(installed.client, cast.acme, cast.admin, chosen={EDIT})
    access = factories.agree(external.client, cast.acme, cast.admin, requested={VIEW, EDIT}).access
    if what == "client":
        for side in (installed, external):
            credentials.suspend_client(side.client, reason="Harmful", by=factories.reviewer())
    else:
        accounts.suspend_account(cast.acme, reason="Unpaid", by=None)
    for path in (f"/installations/{installed.installation.pk}/", f"/authorizations/{access.pk}/"):
        page = text(browse(cast.admin).get(path))
        assert "What it may do" in page and "View tickets" in page and "Edit tickets" in page, path
        assert "What it will ask for" not in page and "uspended" in page, path


def test_a_suspended_app_shows_an_agent_what_they_agreed_to(cast, browse):
    row = factories.client(cast.dev, kind=Kind.EXTERNAL, level=Level.AGENT)[0]
    access = factories.agree(row, cast.acme, cast.agent, requested={VIEW}).access
    credentials.suspend_client(row, reason="Harmful", by=factories.reviewer())
    assert "What it may do View tickets" in text(browse(cast.agent).get(f"/authorizations/{access.pk}/"))
    ending.end_access(access, by=cast.admin, reason=AccessEnd.REVOKED)
    assert "What it may do" not in text(browse(cast.agent).get(f"/authorizations/{access.pk}/"))


def test_a_reviewer_reads_which_versions_are_published_without_a_review(cast, browse, draft):
    rita, app = browse(factories.reviewer()), draft.app
    submitted = publishing.submit_version(draft, by=cast.dev)
    url = f"/admin/marketplace/version/{submitted.pk}/change/"
    assert "This is the first version. No version was published before it." in text(rita.get(url))
    custom = publishing.create_version(app, by=cast.dev, **version_fields("1.1"))
    publishing.publish_custom(custom, accounts={cast.acme.slug}, by=cast.dev)
    page = text(rita.get(url))
    assert "no reviewer saw what they have now Compared with 1.1, the published version" in page
    assert "For everyone" not in page and "This is the first version" not in page
    publishing.withdraw_version(custom, reason="Broken", by=cast.dev)
    assert "1.1 (Chosen accounts, Withdrawn)" in text(rita.get(url))
