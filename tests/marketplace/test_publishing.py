"""Creating, reviewing and publishing apps and versions: it works, the wrong person, the wrong state, twice."""

import threading

import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, connection, transaction

from consent.validity import live_consents
from credentials.actions import ReasonMissing
from credentials.models import Kind, Level
from marketplace.actions import installing, publishing
from marketplace.actions.publishing import (
    AccountsMissing,
    ClientTaken,
    Frozen,
    NothingPublished,
    NotReady,
    StatusCannotMove,
)
from marketplace.models import App, Review, Status, Version
from portal.accounts.actions import teams
from portal.accounts.rights import NotAReviewer, NotATeammate, OwnTeam
from portal.ledger.models import Entry
from tests import factories
from tests.browsing import squeeze
from tests.factories import DELETE, EDIT, VIEW, team_of, version_fields
from tests.marketplace.versions import sealed
from tests.people.forms import text
from tests.worlds import shared

pytestmark = pytest.mark.django_db


@shared
def row(cast):
    return factories.client(cast.dev)[0]


@shared
def draft(cast, row):
    return factories.app(cast.dev, row)


def make(cast, client=None, slug="insights", by=None):
    return publishing.create_app(team_of(cast.dev), slug=slug, client=client, by=by or cast.dev)


# --- apps ---


def test_an_app_gets_its_credentials_once_at_creation_or_later(cast, row):
    """C4"""
    app = make(cast)
    assert app.client is None
    assert publishing.set_client(app, row, by=cast.dev).client == row
    other, _secret = factories.client(cast.dev)
    with pytest.raises(ClientTaken):
        publishing.set_client(app, other, by=cast.dev)
    with pytest.raises(DatabaseError), transaction.atomic():
        App.objects.update(client=other)
    with pytest.raises(DatabaseError), transaction.atomic():
        App.objects.update(client=None)


def test_credentials_belong_to_one_app(cast, row):
    make(cast, row)
    with pytest.raises(ClientTaken):
        make(cast, row, slug="second")
    assert App.objects.count() == 1


def test_an_app_takes_only_marketplace_credentials_of_its_own_team(cast):
    external, _secret = factories.client(cast.dev, kind=Kind.EXTERNAL)
    foreign, _secret = factories.client(cast.other_dev)
    for client in (external, foreign):
        with pytest.raises(ClientTaken):
            make(cast, client)
        app = make(cast, slug=f"app-{client.pk}")
        with pytest.raises(DatabaseError), transaction.atomic():
            App.objects.filter(pk=app.pk).update(client=client)


@pytest.mark.django_db(transaction=True)
def test_two_apps_cannot_take_the_same_credentials_at_once(cast, row):
    apps = [make(cast, slug="one"), make(cast, slug="two")]
    outcomes = []

    def take(app):
        try:
            outcomes.append(publishing.set_client(app, row, by=cast.dev).client_id)
        except ClientTaken:
            outcomes.append(None)
        finally:
            connection.close()

    threads = [threading.Thread(target=take, args=(app,)) for app in apps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes, key=bool) == [None, row.pk] and App.objects.filter(client=row).count() == 1


@pytest.mark.parametrize("slug", ["", "With Space", "a/b", "x" * 51, "é"])
def test_an_apps_slug_is_validated(cast, slug):
    with pytest.raises(ValidationError):
        make(cast, slug=slug)


def test_a_slug_is_unique(cast):
    make(cast)
    with pytest.raises(ValidationError):
        publishing.create_app(team_of(cast.other_dev), slug="insights", by=cast.other_dev)


def test_only_a_teammate_works_on_an_app(cast, draft):
    app = draft.app
    for who in (cast.other_dev, cast.admin, factories.reviewer()):
        for act in (
            lambda by: make(cast, by=by),
            lambda by: publishing.set_client(app, app.client, by=by),
            lambda by: publishing.create_version(app, by=by, **version_fields("2.0")),
            lambda by: publishing.change_version(draft, by=by, name="Other"),
            lambda by: publishing.submit_version(draft, by=by),
            lambda by: publishing.publish_custom(draft, accounts={"acme"}, by=by),
            lambda by: publishing.publish_version(draft, by=by),
            lambda by: installing.install_draft(draft, by=by),
        ):
            with pytest.raises(NotATeammate):
                act(who)
    draft.refresh_from_db()
    assert (draft.status, draft.name, App.objects.count(), Version.objects.count()) == ("draft", "Insights", 1, 1)


# --- versions ---


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"number": "one"}, "number"),
        ({"number": "1"}, "number"),
        ({"number": "1.0-draft.1"}, "number"),
        ({"number": "1.0\n"}, "number"),
        ({"name": ""}, "name"),
        ({"name": "x" * 61}, "name"),
        ({"tagline": ""}, "tagline"),
        ({"description": "x" * 10001}, "description"),
        ({"release_notes": ""}, "release_notes"),
        ({"install_url": "http://app.example/install"}, "install_url"),
        ({"install_url": "http://127.0.0.1.evil.example/"}, "install_url"),
        ({"install_url": "https://admin@app.example/"}, "install_url"),
        ({"install_url": "javascript:alert(1)"}, "install_url"),
        ({"required_scopes": [DELETE]}, "__all__"),
        ({"optional_scopes": ["made.up"]}, "__all__"),
    ],
)
def test_an_invalid_version_is_refused(cast, row, changed, field):
    """T1: a version's scopes are the client's."""
    app = make(cast, row)
    with pytest.raises(ValidationError) as refusal:
        publishing.create_version(app, by=cast.dev, **version_fields(**changed))
    assert field in getattr(refusal.value, "error_dict", {"__all__": 1}) and not Version.objects.exists()


def test_a_scope_is_required_or_optional_and_required_wins(cast, row):
    version = factories.app(cast.dev, row, required_scopes=[VIEW, VIEW], optional_scopes=[EDIT, VIEW])
    assert (version.required_scopes, version.optional_scopes) == ([VIEW], [EDIT])


def test_a_number_must_be_higher_than_those_submitted_before(cast, draft):
    publishing.submit_version(draft, by=cast.dev)
    for number in ("1.0", "1.0.0", "0.9"):
        with pytest.raises(ValidationError):
            publishing.create_version(draft.app, by=cast.dev, **version_fields(number))
    publishing.create_version(draft.app, by=cast.dev, **version_fields("1.10"))


FROZEN = {
    "number": "9.0", "release_notes": "x", "name": "x", "tagline": "x", "description": "x", "icon": b"x",
    "install_url": "https://x.example/", "required_scopes": [], "optional_scopes": [EDIT],
}  # fmt: skip


@pytest.mark.parametrize("name", FROZEN)
def test_a_submitted_version_is_frozen(cast, draft, name):
    """M2: against the action, saving the model, and SQL."""
    publishing.change_version(draft, by=cast.dev, name="Better")
    version = publishing.submit_version(draft, by=cast.dev)
    with pytest.raises(Frozen):
        publishing.change_version(version, by=cast.dev, **{name: FROZEN[name]})
    before = getattr(version, name)
    setattr(version, name, FROZEN[name])
    with pytest.raises(DatabaseError), transaction.atomic():
        version.save()
    with pytest.raises(DatabaseError), transaction.atomic():
        Version.objects.filter(pk=version.pk).update(**{name: FROZEN[name]})
    assert getattr(Version.objects.get(pk=version.pk), name) == before


def test_only_a_versions_own_fields_can_be_changed(cast, draft):
    with pytest.raises(TypeError):
        publishing.change_version(draft, by=cast.dev, status="published")


def test_an_agent_level_version_needs_an_install_url(cast):
    client, _secret = factories.client(cast.dev, level=Level.AGENT)
    draft = factories.app(cast.dev, client)
    with pytest.raises(NotReady, match="install URL"):
        publishing.submit_version(draft, by=cast.dev)


# --- review ---


def test_a_reviewer_approves_and_the_team_publishes(cast, draft):
    """M3"""
    version = publishing.submit_version(draft, by=cast.dev)
    with pytest.raises(StatusCannotMove):
        publishing.publish_version(version, by=cast.dev)
    version = publishing.approve_version(version, by=factories.reviewer())
    assert version.status == Status.APPROVED
    version = publishing.publish_version(version, by=cast.dev)
    assert version.status == Status.PUBLISHED and version.published_at
    story = ["version.created", "version.submitted", "version.approved", "version.published"]
    entries = Entry.objects.filter(chain=draft.app.team.chain_name, subject=f"version:{draft.pk}").order_by("sequence")
    assert list(entries.values_list("event", flat=True)) == story
    assert Entry.objects.filter(chain="portal", event="version.approved").count() == 1


def test_a_rejection_has_a_reason_and_ends_the_version(cast, draft):
    version, rita = publishing.submit_version(draft, by=cast.dev), factories.reviewer()
    with pytest.raises(ReasonMissing):
        publishing.reject_version(version, reason="  ", by=rita)
    version = publishing.reject_version(version, reason="Asks for too much", by=rita)
    assert (version.status, version.review.reason, version.review.reviewer) == ("rejected", "Asks for too much", rita)
    for act in (publishing.submit_version, publishing.publish_version):
        with pytest.raises(StatusCannotMove):
            act(version, by=cast.dev)
    for act in (publishing.approve_version, publishing.reject_version):
        with pytest.raises(StatusCannotMove):
            act(version, reason="Again", by=rita)
    assert Review.objects.count() == 1


def test_only_a_reviewer_decides(cast, draft):
    version = publishing.submit_version(draft, by=cast.dev)
    staff = factories.person("Stan", is_staff=True, is_superuser=True)
    for who in (staff, cast.dev, cast.other_dev, cast.admin):
        for act in (publishing.approve_version, publishing.reject_version):
            with pytest.raises(NotAReviewer):
                act(version, reason="Fine", by=who)


def test_a_reviewer_cannot_decide_on_their_own_teams_version(cast, draft):
    version, rita = publishing.submit_version(draft, by=cast.dev), factories.reviewer()
    teams.add_teammate(draft.app.team, rita, role="member", by=cast.dev)
    for act in (publishing.approve_version, publishing.reject_version):
        with pytest.raises(OwnTeam):
            act(version, reason="Fine", by=rita)
    assert not Review.objects.exists()


@pytest.mark.parametrize(
    ("start", "end"),
    [("draft", "approved"), ("draft", "published"), ("in_review", "published"), ("in_review", "draft"), ("approved", "draft"),
     ("published", "draft"), ("published", "in_review"), ("rejected", "in_review"), ("rejected", "published")],
)  # fmt: skip
def test_the_database_refuses_any_other_step(cast, draft, start, end):
    """The table of transitions in section 4 of the design."""
    if start != "draft":
        draft = publishing.submit_version(draft, by=cast.dev)
    if start in ("approved", "published"):
        draft = publishing.approve_version(draft, by=factories.reviewer())
    if start == "published":
        draft = publishing.publish_version(draft, by=cast.dev)
    if start == "rejected":
        draft = publishing.reject_version(draft, reason="No", by=factories.reviewer())
    with pytest.raises(DatabaseError), transaction.atomic():
        Version.objects.filter(pk=draft.pk).update(status=end, audience="public")


# --- custom apps ---


def test_a_custom_version_is_published_without_review_for_chosen_accounts(cast, draft):
    version = publishing.publish_custom(draft, accounts={cast.acme.slug}, by=cast.dev)
    assert (version.status, version.audience) == ("published", "custom")
    assert version.app.custom_accounts == [cast.acme.slug]
    with pytest.raises(StatusCannotMove):
        publishing.publish_custom(version, accounts={cast.acme.slug}, by=cast.dev)
    second = publishing.create_version(version.app, by=cast.dev, **version_fields("1.1"))
    second = publishing.publish_custom(second, accounts={cast.globex.slug}, by=cast.dev)
    assert second.app.custom_accounts == sorted([cast.acme.slug, cast.globex.slug])


def test_a_custom_version_needs_an_account_and_everything_that_versions_need(cast, draft):
    with pytest.raises(AccountsMissing):
        publishing.publish_custom(draft, accounts=set(), by=cast.dev)
    with pytest.raises(ValidationError):
        publishing.publish_custom(draft, accounts={"Not A Slug"}, by=cast.dev)
    assert Version.objects.get().status == "draft"


def test_a_developer_does_not_learn_which_accounts_exist(cast, draft, browse):
    """E1"""
    browser = browse(cast.dev)
    url = f"/apps/{draft.app.slug}/versions/{draft.pk}/custom/"
    answer = browser.post(url, sealed(browser, url, accounts=f"{cast.acme.slug}, no-such-account"), follow=True)
    page = answer.content.decode()
    assert f"{cast.acme.slug}, no-such-account. Check the spelling" in page
    assert "no-such-account" in browser.get(f"/apps/{draft.app.slug}/").content.decode()


def test_more_accounts_can_be_listed_for_a_custom_app(cast, draft):
    version = publishing.publish_custom(draft, accounts={cast.acme.slug}, by=cast.dev)
    app = publishing.list_accounts(version.app, accounts={cast.globex.slug}, by=cast.dev)
    assert app.custom_accounts == sorted([cast.acme.slug, cast.globex.slug])
    assert installing.install(app, cast.globex, by=cast.globex_admin)
    assert (
        publishing.list_accounts(app, accounts={cast.globex.slug}, by=cast.dev).custom_accounts == app.custom_accounts
    )
    assert Entry.objects.filter(event="app.accounts_listed").count() == 2


def test_only_the_team_lists_accounts_and_only_for_a_custom_app(cast, draft):
    with pytest.raises(NothingPublished):
        publishing.list_accounts(draft.app, accounts={cast.acme.slug}, by=cast.dev)
    version = publishing.publish_custom(draft, accounts={cast.acme.slug}, by=cast.dev)
    with pytest.raises(NotATeammate):
        publishing.list_accounts(version.app, accounts={cast.globex.slug}, by=cast.other_dev)
    with pytest.raises(AccountsMissing):
        publishing.list_accounts(version.app, accounts=set(), by=cast.dev)
    assert App.objects.get().custom_accounts == [cast.acme.slug]


def test_accounts_can_be_listed_on_the_apps_page(cast, draft, browse):
    app = publishing.publish_custom(draft, accounts={cast.acme.slug}, by=cast.dev).app
    url = f"/apps/{app.slug}/accounts/"
    dev = browse(cast.dev)
    answer = dev.post(url, sealed(dev, url, accounts=cast.globex.slug), follow=True)
    assert "Check the spelling" in answer.content.decode()
    assert browse(cast.other_dev).post(url, {"accounts": "x"}).status_code == 404
    assert browse(cast.dev).post(url, {"accounts": "Not/a/slug"}).status_code == 422
    app.refresh_from_db()
    assert cast.globex.slug in app.custom_accounts and len(app.custom_accounts) == 2


def test_a_review_compares_with_the_last_reviewed_version(cast, browse):
    """Not with a custom version, which nobody reviewed, nor with a later one."""
    client = factories.client(cast.dev, scopes=[VIEW, EDIT])[0]
    first = factories.publish(factories.app(cast.dev, client, icon=b"one"), cast.dev)

    def draft(number, **more):
        return publishing.create_version(first.app, by=cast.dev, **version_fields(number, **more))

    publishing.publish_custom(draft("1.1", required_scopes=[VIEW, EDIT], icon=b"two"), accounts={"acme"}, by=cast.dev)
    review = publishing.submit_version(draft("1.2", required_scopes=[VIEW, EDIT], icon=b"two"), by=cast.dev)
    rita = browse(factories.reviewer())
    page = rita.get(f"/admin/marketplace/version/{review.pk}/change/").content.decode()
    assert "Compared with 1.0, the published version" in page and "Required · new" in page and "New icon" in page
    page = rita.get(f"/admin/marketplace/version/{first.pk}/change/").content.decode()
    assert "This is the first version. No version was published before it." in page


def test_an_account_is_taken_off_the_list_and_what_is_installed_there_stays(cast, draft, browse):
    version = publishing.publish_custom(draft, accounts={cast.acme.slug, cast.globex.slug}, by=cast.dev)
    installation = installing.install(version.app, cast.acme, by=cast.admin)
    factories.agree(version.app.client, cast.acme, cast.admin)
    url = f"/apps/{version.app.slug}/accounts/{cast.acme.slug}/remove/"
    assert "it stays and works as before" in text(browse(cast.dev).get(url))
    assert browse(cast.dev).post(url).status_code == 302
    version.app.refresh_from_db()
    assert version.app.custom_accounts == [cast.globex.slug]
    assert Entry.objects.filter(event="app.account_unlisted", details__accounts=[cast.acme.slug]).exists()
    installation.refresh_from_db()
    assert not installation.uninstalled_at and live_consents().filter(access=installation.access).exists()
    installing.uninstall(installation, by=cast.admin)
    with pytest.raises(installing.NotInstallable):
        installing.install(version.app, cast.acme, by=cast.admin)
    assert browse(cast.dev).get(url).status_code == browse(cast.dev).post(url).status_code == 404


def test_an_account_that_was_taken_off_is_offered_no_custom_version_until_it_is_listed_again(cast, draft):
    first = publishing.publish_custom(draft, accounts={cast.acme.slug}, by=cast.dev)
    installing.install(first.app, cast.acme, by=cast.admin)
    factories.agree(first.app.client, cast.acme, cast.admin)
    second = publishing.create_version(first.app, by=cast.dev, **version_fields("1.1"))
    second = publishing.publish_custom(second, accounts={cast.acme.slug}, by=cast.dev)
    assert second.offers.open().exists()
    publishing.unlist_account(second.app, account=cast.acme.slug, by=cast.dev)
    assert not second.offers.open().exists()
    publishing.list_accounts(second.app, accounts={cast.acme.slug}, by=cast.dev)
    assert second.offers.open().exists()


def test_names_of_accounts_are_repeated_as_typed_before_anything_is_published(cast, draft, browse):
    """E1: no answer tells whether an account exists."""
    dev, url = browse(cast.dev), f"/apps/{draft.app.slug}/versions/{draft.pk}/custom/"
    page = squeeze(dev.get(url, {"accounts": f"{cast.acme.slug}, No-Such_one {cast.acme.slug}"}).content.decode())
    assert page.count(f"<code>{cast.acme.slug}</code>") == 1 and "<code>No-Such_one</code>" in page
    assert "does not tell you which of these accounts exist" in page and "the app stays installed there" in page
    draft.refresh_from_db()
    assert draft.status == "draft"
    for wrong, said in (("a/b", "Check a/b"), (" , ", "required"), ("", "required"), ("x" * 51, "at most 50")):
        answer = dev.get(url, {"accounts": wrong})
        assert answer.status_code == 422 and said in text(answer)
