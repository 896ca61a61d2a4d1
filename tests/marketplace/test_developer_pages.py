"""The pages of a developer's apps and versions: who may see them, signed out, wrong method, replay."""

import io
import re
from functools import partial

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from PIL import Image

from credentials import actions as credentials
from marketplace.actions import installing, publishing
from marketplace.models import App, Installation, Version
from portal.foundation.limits import rates
from tests import factories
from tests.browsing import squeeze
from tests.factories import CREATE, EDIT, VIEW, team_of, version_fields
from tests.marketplace import packages
from tests.marketplace.versions import sealed
from tests.people.forms import forms_of

pytestmark = pytest.mark.django_db


def text(response):
    return squeeze(response.content.decode())


def version_form(**more):
    fields = {name: value for name, value in version_fields().items() if not name.endswith("scopes")}
    return {**fields, f"level:{VIEW}": "required", f"level:{EDIT}": "optional", "install_url": "", **more}


def test_a_developer_makes_an_app_and_a_version_with_an_icon(cast, browse):
    client, _secret = factories.client(cast.dev)
    dev = browse(cast.dev)
    response = dev.post("/apps/new/", {"team": team_of(cast.dev).pk, "name": "Bridge", "slug": "Bridge", "client": client.pk})  # fmt: skip
    assert response["Location"] == "/apps/bridge/"
    picture = io.BytesIO()
    Image.new("RGB", (64, 64)).save(picture, "PNG")
    upload = SimpleUploadedFile("icon.png", picture.getvalue())
    response = dev.post("/apps/bridge/versions/new/", version_form(upload=upload))
    version = Version.objects.get()
    assert response["Location"] == f"/apps/bridge/versions/{version.pk}/"
    assert (version.required_scopes, version.optional_scopes) == ([VIEW], [EDIT]) and version.icon
    icon = dev.get(f"/marketplace/bridge/icon/{version.pk}/")
    assert icon["Content-Type"] == "image/png" and icon["X-Content-Type-Options"] == "nosniff"
    for who in (cast.admin, cast.other_dev):
        assert browse(who).get(f"/marketplace/bridge/icon/{version.pk}/").status_code == 404
    edited = dev.post(f"/apps/bridge/versions/{version.pk}/edit/", version_form(name="Bridges"))
    version.refresh_from_db()
    assert edited.status_code == 302 and version.name == "Bridges" and version.icon


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"number": "one"}, "Use a number such as 1.0 or 1.2.3, without leading zeros."),
        ({"name": ""}, "required"),
        ({f"level:{factories.DELETE}": "required"}, "do not have"),
        ({"install_url": "http://evil.example"}, "https://"),
        ({"description": "a\0b"}, "Null characters"),
        ({"upload": b"<svg/>"}, "not a PNG"),
    ],
)
def test_a_mistake_in_a_version_is_explained_and_changes_nothing(cast, browse, draft, changed, said):
    dev = browse(cast.dev)
    for url in (f"/apps/{draft.app.slug}/versions/new/", f"/apps/{draft.app.slug}/versions/{draft.pk}/edit/"):
        fields = version_form(**{"number": "1.1", **changed})
        if "upload" in fields:
            fields["upload"] = SimpleUploadedFile("x.svg", fields["upload"])
        page = dev.post(url, fields)
        assert page.status_code == 422 and said in text(page), url
    draft.refresh_from_db()
    assert draft.number == "1.0" and Version.objects.count() == 1


def test_a_taken_slug_and_foreign_credentials_are_refused(cast, browse, draft):
    dev, foreign = browse(cast.dev), factories.client(cast.other_dev)[0]
    fields = {"team": team_of(cast.dev).pk, "name": "Other", "slug": draft.app.slug}
    assert "taken" in text(dev.post("/apps/new/", fields))
    for changed in ({"client": foreign.pk}, {"client": draft.app.client.pk}, {"team": team_of(cast.other_dev).pk}):
        page = dev.post("/apps/new/", {**fields, "slug": "other", **changed})
        assert page.status_code == 422 and "valid choice" in text(page)
    assert App.objects.count() == 1


def test_the_developer_reads_why_a_version_was_rejected(cast, browse, draft):
    version = publishing.submit_version(draft, by=cast.dev)
    publishing.reject_version(version, reason="Ask for less", by=factories.reviewer())
    assert "Ask for less" in text(browse(cast.dev).get(f"/apps/{draft.app.slug}/versions/{draft.pk}/"))


def test_each_step_is_a_post_that_cannot_be_replayed(cast, browse, draft):
    dev = browse(cast.dev)
    base = f"/apps/{draft.app.slug}/versions/{draft.pk}/"
    sent = sealed(dev, f"{base}submit/")
    assert "Submitted" in text(dev.post(f"{base}submit/", sent, follow=True))
    assert "cannot be done" in text(dev.post(f"{base}submit/", sent, follow=True))
    assert "cannot be done" in text(dev.post(f"{base}publish/", follow=True))
    assert dev.get(f"{base}edit/")["Location"] == base
    assert dev.post(f"{base}edit/", version_form(name="Other"))["Location"] == base
    publishing.approve_version(draft, by=factories.reviewer())
    assert "Published" in text(dev.post(f"{base}publish/", follow=True))
    assert "cannot be done" in text(dev.post(f"{base}publish/", follow=True))


def test_a_reviewer_sees_no_change_in_an_unchanged_text(cast, browse, published_version):
    """A browser sends lines ended by CRLF, and texts stored earlier have them too."""
    written = "One\n\nTwo **three**"
    for number, stored in (("2.0", written), ("3.0", written.replace("\n", "\r\n"))):
        before = factories.publish(
            publishing.create_version(published_version.app, by=cast.dev, **version_fields(number, description=stored)),
            cast.dev,
        )
        sent = version_form(number=f"{number}.1", description=written.replace("\n", "\r\n"))
        assert browse(cast.dev).post(f"/apps/{published_version.app.slug}/versions/new/", sent).status_code == 302
        version = Version.objects.first()
        assert (version.description, before.description) == (written, stored)
        publishing.submit_version(version, by=cast.dev)
        page = text(browse(factories.reviewer()).get(f"/admin/marketplace/version/{version.pk}/change/"))
        assert "The texts did not change." in page and "<del>" not in page


def test_versions_created_and_published_are_limited_by_team(cast, browse, draft, limited, monkeypatch):
    """Reviewers read each of them, and many accounts' admins get mail."""
    for rate in ("versions by team", "publications by team"):
        monkeypatch.setitem(rates.RATES, rate, (2, 600))
    dev, base = browse(cast.dev), f"/apps/{draft.app.slug}/versions/{draft.pk}/"
    numbers = [version_form(number=number) for number in ("2.0", "3.0", "4.0")]
    answers = [dev.post(f"/apps/{draft.app.slug}/versions/new/", fields) for fields in numbers]
    assert [answer.status_code for answer in answers] == [302, 302, 429]
    assert "Too many attempts" in text(answers[-1]) and int(answers[-1]["Retry-After"]) > 0
    assert [dev.post(f"{base}{step}/").status_code for step in ("submit", "test")] == [429, 429]
    sent = sealed(dev, f"{base}custom/", accounts="acme")
    answers = [dev.post(f"{base}custom/", sent), dev.post(f"{base}withdraw/", {"reason": "Why"})]
    answers.append(dev.post(f"/apps/{draft.app.slug}/accounts/", {"accounts": "globex"}))
    assert [answer.status_code for answer in answers] == [302, 302, 429]
    assert draft.app.versions.count() == 3 and Version.objects.get(pk=draft.pk).status == "withdrawn"


def test_a_draft_is_tried_on_the_test_account(cast, browse, draft):
    answered = browse(cast.dev).post(f"/apps/{draft.app.slug}/versions/{draft.pk}/test/")
    installation = Installation.objects.get()
    assert answered["Location"] == f"/installations/{installation.pk}/connect/"
    assert installation.account == draft.app.team.test_account


def test_the_page_of_a_version_in_review_says_how_to_fix_a_mistake(cast, browse, draft):
    publishing.submit_version(draft, by=cast.dev)
    page = text(browse(cast.dev).get(f"/apps/{draft.app.slug}/versions/{draft.pk}/"))
    assert "Nothing is published until you publish it" in page
    assert f"/apps/{draft.app.slug}/versions/{draft.pk}/take-back/" in page


def test_apps_are_named_as_in_their_newest_version(cast, browse, draft):
    dev, app = browse(cast.dev), draft.app
    publishing.create_version(app, by=cast.dev, **version_fields("1.1", name="Graphs <b>"))
    assert f'Graphs &lt;b&gt;</td> <td data-label="Address">{app.slug}<' in text(dev.get("/apps/"))
    assert "<title>Graphs &lt;b&gt;" in text(dev.get(f"/apps/{app.slug}/"))
    # A test copy of an older version does not count.
    installing.install_draft(draft, by=cast.dev)
    assert "<title>Graphs &lt;b&gt;" in text(dev.get(f"/apps/{app.slug}/"))
    publishing.create_app(team_of(cast.dev), slug="unnamed", by=cast.dev)
    assert "No version yet" in text(dev.get("/apps/")) and "<title>unnamed" in text(dev.get("/apps/unnamed/"))


def test_strangers_do_not_learn_that_an_app_exists(cast, browse, draft, developer_urls):
    """E1"""
    reads, posts = developer_urls
    for who in (cast.other_dev, cast.admin, cast.agent, factories.reviewer()):
        browser = browse(who)
        assert draft.app.slug not in text(browser.get("/apps/"))
        assert {browser.get(url).status_code for url in reads} == {404}
        assert {browser.post(url, {"accounts": "x"}).status_code for url in [reads[0], reads[3], *posts]} == {404}
    draft.refresh_from_db()
    assert draft.status == "draft" and Version.objects.count() == 1


def test_a_version_is_found_under_its_own_app_only(cast, browse, draft):
    other = factories.app(cast.dev, factories.client(cast.dev)[0])
    assert browse(cast.dev).get(f"/apps/{other.app.slug}/versions/{draft.pk}/").status_code == 404


def test_a_new_version_keeps_the_icon_unless_another_is_uploaded(cast, browse):
    draft = factories.app(cast.dev, factories.client(cast.dev)[0], icon=b"png")
    fields = {**version_fields("2.0"), f"level:{VIEW}": "required", "install_url": ""}
    for name in ("required_scopes", "optional_scopes"):
        del fields[name]
    assert browse(cast.dev).post(f"/apps/{draft.app.slug}/versions/new/", fields).status_code == 302
    assert bytes(draft.app.versions.get(number="2.0").icon) == b"png"
    again = browse(cast.dev).post(f"/apps/{draft.app.slug}/versions/new/", fields)
    assert again.status_code == 422 and "Version 2.0 already exists." in text(again)


def test_an_app_without_credentials_explains_what_that_means_and_where_to_create_them(cast, browse):
    publishing.create_app(team_of(cast.dev), slug="pinboard", client=None, by=cast.dev)
    dev = browse(cast.dev)
    page = text(dev.get("/apps/pinboard/"))
    assert (
        "You set credentials once and cannot change them later. Without credentials, the app cannot ask for scopes here, but it can connect to vendors or work with a key that an admin fills in."
        in page
        and "cannot be installed" not in page
    )
    assert "The team has no unused marketplace credentials." in page and 'href="/credentials/new/"' in page
    factories.client(cast.dev)
    page = text(dev.get("/apps/pinboard/"))
    assert "Choose OAuth credentials" in page and "The team has no unused marketplace credentials." not in page


def test_setting_credentials_asks_first(cast, browse):
    app = publishing.create_app(factories.team_of(cast.dev), name="Pinboard", slug="pinboard", by=cast.dev)
    dev, (row, _secret) = browse(cast.dev), factories.client(cast.dev, name="Board")
    asks = dev.post("/apps/pinboard/", {"client": row.pk})
    app.refresh_from_db()
    assert asks.status_code == 200 and app.client is None
    assert "Use the credentials Board for Pinboard?" in text(asks) and "no other app can use these" in text(asks)
    assert dev.post("/apps/pinboard/", {"client": row.pk, "confirmed": "1"}).status_code == 302
    app.refresh_from_db()
    assert app.client == row


def test_a_versions_page_lists_its_vendors_and_has_no_empty_card(cast, browse, draft, vendor_only):
    dev = browse(cast.dev)
    page = text(dev.get(f"/apps/{vendor_only.app.slug}/versions/{vendor_only.version.pk}/"))
    assert "Other services it connects to" in page and "Example Calendar" in page
    publishing.change_version(draft, by=cast.dev, required_scopes=[], optional_scopes=[])
    page = text(dev.get(f"/apps/{draft.app.slug}/versions/{draft.pk}/"))
    assert not re.search(r'class="card-body">\s*</div>', page)


def levels(page):
    """Return {scope: level} of a version's form."""
    form = next(form for form in forms_of(page) if "number" in form.fields)
    return {name.removeprefix("level:"): value for name, value in form.values.items() if name.startswith("level:")}


def test_scopes_of_a_new_version_start_as_required_or_as_in_the_last_one(cast, browse):
    client, _secret = factories.client(cast.dev, scopes=(VIEW, EDIT))
    app, dev = publishing.create_app(team_of(cast.dev), slug="fresh", client=client, by=cast.dev), browse(cast.dev)  # fmt: skip
    url = "/apps/fresh/versions/new/"
    assert levels(dev.get(url)) == {VIEW: "required", EDIT: "required"}
    publishing.create_version(app, by=cast.dev, **version_fields(required_scopes=[], optional_scopes=[EDIT]))
    credentials.add_scopes(client, scopes={CREATE: ""}, by=cast.dev)
    assert levels(dev.get(url)) == {VIEW: "none", EDIT: "optional", CREATE: "required"}


def test_a_draft_that_asks_for_nothing_says_so_and_is_not_submitted(cast, browse, draft):
    dev, url = browse(cast.dev), f"/apps/{draft.app.slug}/versions/{draft.pk}/"
    said = "This version asks for nothing yet"
    assert said not in text(dev.get(url))
    sent = version_form(**{f"level:{VIEW}": "none", f"level:{EDIT}": "none"})
    saved = text(dev.post(f"{url}edit/", sent, follow=True))
    assert "Saved." in saved and said in saved
    for step in ("submit", "custom"):
        answer = dev.get(f"{url}{step}/", follow=True)
        assert answer.redirect_chain == [(url, 302)] and "This version does nothing yet" in text(answer)


def test_a_draft_that_a_teammate_edited_meanwhile_is_not_submitted_or_published(cast, browse, draft):
    """What is confirmed is what the version's page, and then the confirmation, showed."""
    dev, base = browse(cast.dev), f"/apps/{draft.app.slug}/versions/{draft.pk}/"
    stale, edit = "Something changed while you were reading", partial(publishing.change_version, draft, by=cast.dev)

    def is_refused(answer):
        return answer.redirect_chain == [(base, 302)] and stale in text(answer)

    read = dev.get(base).context["shown"]
    assert f"{base}submit/?shown={read}" in dev.get(base).content.decode()
    edit(icon=b"png")
    for step in ("submit", "custom"):
        assert is_refused(dev.get(f"{base}{step}/", {"shown": read, "accounts": "acme"}, follow=True))
        sent = sealed(dev, f"{base}{step}/", accounts="acme")
        edit(description=f"Something else to {step}")
        assert is_refused(dev.post(f"{base}{step}/", sent, follow=True))
        assert is_refused(dev.post(f"{base}{step}/", {"accounts": "acme"}, follow=True))
    draft.refresh_from_db()
    assert draft.status == "draft" and not draft.app.custom_accounts
    sent = sealed(dev, f"{base}custom/", accounts="acme")
    assert "Published." in text(dev.post(f"{base}custom/", sent, follow=True))


def test_accounts_that_a_teammate_listed_meanwhile_are_read_before_more_are_listed(cast, browse, draft):
    dev, url = browse(cast.dev), f"/apps/{draft.app.slug}/"
    publishing.publish_custom(draft, accounts={"acme"}, by=cast.dev)
    more = publishing.create_version(draft.app, by=cast.dev, **version_fields("1.1"))
    publish, add = f"{url}versions/{more.pk}/custom/", f"{url}accounts/"
    sent = {address: sealed(dev, address, accounts="globex") for address in (publish, add)}
    publishing.list_accounts(draft.app, accounts={"initech"}, by=cast.dev)
    for address, data in sent.items():
        assert "Something changed while you were reading" in text(dev.post(address, data, follow=True))
    draft.app.refresh_from_db()
    assert draft.app.custom_accounts == ["acme", "initech"]
    assert "Already listed: acme, initech." in text(dev.get(add, {"accounts": "globex"}))
    dev.post(add, sealed(dev, add, accounts="globex"))
    draft.app.refresh_from_db()
    assert "globex" in draft.app.custom_accounts


def test_each_save_says_that_it_saved(cast, browse, draft):
    dev, app = browse(cast.dev), draft.app
    answer = dev.post(f"/apps/{app.slug}/versions/new/", version_form(number="2.0"), follow=True)
    assert "Saved as a draft." in text(answer)
    url = f"/apps/{app.slug}/versions/{draft.pk}/"
    assert "Saved." in text(dev.post(f"{url}edit/", version_form(), follow=True))
    package = SimpleUploadedFile("app.zip", packages.as_zip(packages.good(app.client)))
    answer = dev.post(f"{url}package/", {"package": package, "keep_secrets": "on"})
    assert "Saved. The package has no errors" in text(answer)


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Ticket Insights", "ticket-insights"),
        ("  Über-App №1! ", "uber-app-no1"),
        ("New", "new-2"),
        ("x" * 60, "x" * 46),
    ],
)
def test_an_apps_address_is_made_from_its_name_if_none_is_given(cast, browse, name, slug):
    sent = {"team": team_of(cast.dev).pk, "name": name, "slug": ""}
    dev = browse(cast.dev)
    assert dev.post("/apps/new/", sent)["Location"] == f"/apps/{slug}/"
    # Until it has a version, the app goes by its name, which the first version starts with.
    assert f"<title>{name.strip()}" in text(dev.get(f"/apps/{slug}/"))
    assert f'value="{name.strip()}"' in text(dev.get(f"/apps/{slug}/versions/new/"))
    again = dev.post("/apps/new/", sent)["Location"]
    assert again == f"/apps/{slug.removesuffix('-2')}-{3 if name == 'New' else 2}/"


@pytest.mark.parametrize(
    ("name", "slug", "said"),
    [
        ("", "", "This field is required"),
        ("東京", "", "No address can be made from this name"),
        ("Fine", "Not An Address!", "Use lowercase letters, digits and hyphens"),
        ("Fine", "new", "is taken"),
        ("Fine", "x" * 51, "at most 50 characters"),
    ],
)
def test_one_mistake_in_a_new_app_is_one_error(cast, browse, name, slug, said):
    sent = {"team": team_of(cast.dev).pk, "name": name, "slug": slug}
    page = browse(cast.dev).post("/apps/new/", sent)
    assert page.status_code == 422 and not App.objects.exists()
    summary = re.search(r'<div class="alert alert-danger".*?</div>', text(page))[0]
    assert summary.count("<li>") == 1 and said in summary
    # It links to its field, which says the same.
    linked = re.search(r'href="#(\w+)"', summary)[1]
    assert f'id="{linked}"' in text(page) and text(page).count('class="invalid-feedback"') == 1


def test_trying_a_draft_again_replaces_its_test_copy_and_copies_are_listed_apart(cast, browse, draft):
    dev, url = browse(cast.dev), f"/apps/{draft.app.slug}/versions/{draft.pk}/"
    assert "replaces the one that is installed" not in text(dev.get(url))
    dev.post(f"{url}test/")
    assert "replaces the one that is installed" in text(dev.get(url))
    dev.post(f"{url}test/")
    first, second = Installation.objects.order_by("installed_at")
    assert first.uninstalled_at and not second.uninstalled_at
    versions, copies = text(dev.get(f"/apps/{draft.app.slug}/")).split("Test copies</h2>")
    assert "1.0-draft" not in versions and "Test copies" not in versions
    assert copies.index("1.0-draft.2") < copies.index(f"/installations/{second.pk}/") < copies.index("1.0-draft.1")
    assert f"/installations/{first.pk}/" not in copies and copies.count("No longer installed") == 1


def test_a_step_that_cannot_be_undone_asks_first_and_does_nothing_on_get(cast, browse, draft):
    dev, base = browse(cast.dev), f"/apps/{draft.app.slug}/versions/{draft.pk}/"
    assert "nobody can change this version" in text(dev.get(f"{base}submit/"))
    assert dev.get(f"{base}publish/")["Location"] == base
    draft.refresh_from_db()
    assert draft.status == "draft"
    publishing.approve_version(publishing.submit_version(draft, by=cast.dev), by=factories.reviewer())
    assert "Every account can find and install it" in text(dev.get(f"{base}publish/"))
    for step in ("submit", "custom"):
        assert dev.get(f"{base}{step}/")["Location"] == base
    draft.refresh_from_db()
    assert draft.status == "approved"
