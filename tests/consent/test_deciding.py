"""The pages on which somebody decides: what they say, how they look, and the short one where nothing is left to decide."""

import datetime as dt
import json
import re

import pytest

from consent.models import AuthorizationCode, Consent
from credentials import actions as credentials
from credentials.models import Kind, Product
from credentials.registry import import_document
from marketplace.actions import installing
from portal.accounts.actions import memberships, profiles, teams
from portal.ledger.models import Entry
from tests import factories
from tests.clock import advance
from tests.factories import CREATE, DELETE, EDIT, REDIRECT_URI, VIEW
from tests.marketplace.versions import next_version, upgrade
from tests.oauth import AppSide, agree, answer, authorize_url, pkce, shown
from tests.people.forms import forms_of, text
from tests.worlds import shared

pytestmark = pytest.mark.django_db
CHALLENGE = pkce()[1]
HTTPS_URI = "https://app.example:8443/callback"
CHATS, SEND = "chat.conversations.view", "chat.messages.send"


@shared
def ada(browse, cast):
    return browse(cast.admin)


@shared
def chat(cast):
    """A second product."""
    flows = {
        "authorizationCode": {"scopes": {CHATS: "Read conversations", SEND: "Send messages", "chat.bots": "Run bots"}}
    }
    paths = {
        "/chats": {"get": {"security": [{"oauth2": [CHATS]}]}},
        "/messages": {"post": {"security": [{"oauth2": [SEND]}]}},
    }
    product = Product.objects.create(slug="chat", name="Chat")
    schemes = {"oauth2": {"type": "oauth2", "flows": flows}}
    import_document(product, {"paths": paths, "components": {"securitySchemes": schemes}})
    return product


@shared
def web(cast, client):
    """An external app on the web and on people's own devices."""
    return AppSide(client, *factories.client(cast.dev, kind=Kind.EXTERNAL, uris=[HTTPS_URI, REDIRECT_URI]))


def ask(side, cast, uri=HTTPS_URI, **more):
    return authorize_url(side.client, CHALLENGE, account=cast.acme.slug, redirect_uri=uri, **more)


def after(page, label):
    """Return what a page says beside a label in its list of facts."""
    found = re.search(rf"<dt>{label}</dt>\s*<dd>(.*?)</dd>", page.content.decode(), re.S)
    return " ".join(re.sub(r"<[^>]+>", " ", found[1]).split())


# --- what it says ---


def test_pages_that_decide_have_no_navigation(installed, web, browse, cast, ada):
    side, slug = installed, installed.version.app.slug
    factories.agree(side.client, cast.acme, cast.admin)
    access, consent = side.installation.access, Consent.objects.get()
    next_version(side.version.app, cast.dev, required_scopes=[VIEW, CREATE])
    pages = {
        "authorize": ada.get(ask(web, cast)),
        "continue": ada.get(authorize_url(side.client, CHALLENGE, account=cast.acme.slug)),
        "which account": ada.get(ask(web, cast, prompt="select_account")),
        "not their account": ada.get(ask(web, cast).replace(cast.acme.slug, cast.globex.slug)),
        "not an admin": browse(cast.agent).get(ask(web, cast)),
        "install": ada.get(f"/marketplace/{slug}/install/"),
        "update": ada.get(f"/installations/{side.installation.pk}/upgrade/"),
        "reauthorize": ada.get(f"/authorizations/{access.pk}/reauthorize/"),
        "renew": ada.get(f"/consents/{consent.pk}/renew/"),
        "allow more": ada.get(f"/consents/{consent.pk}/widen/"),
    }
    for name, page in pages.items():
        assert b"<nav" not in page.content and b'href="/installations/"' not in page.content, name
        (leave,) = [form for form in forms_of(page) if form.action == "/accounts/logout/"]
        assert leave.values["next"] == page.wsgi_request.get_full_path(), name


def test_the_page_shows_the_publishers_logo_and_links_and_agree_means_those(web, cast, ada):
    links = {"website": "https://acorn.example", "support_url": "https://acorn.example/help",
             "privacy_url": "https://acorn.example/privacy"}  # fmt: skip
    team = profiles.change_profile(web.client.team, by=cast.dev, logo=b"png", **links)
    url = ask(web, cast)
    page = ada.get(url)
    html = page.content.decode()
    assert f'src="/teams/{team.public_id}/logo/?{team.logo[:8]}"' in html
    for link in links.values():
        assert f'<a href="{link}" rel="noopener nofollow" target="_blank">' in html
    assert "Privacy policy (opens in a new tab)" in text(page)
    profiles.change_profile(team, by=cast.dev, support_url="https://bank.example")
    page = ada.post(url, {"decision": "agree", "shown": page.context["shown"]})
    assert "Something changed while you were reading" in text(page) and b"https://bank.example" in page.content
    assert not Consent.objects.exists()


def test_the_page_says_who_asks_for_which_account_until_when_and_where_the_browser_goes_next(web, cast, ada):
    page = ada.get(ask(web, cast))
    until = page.context["screen"].ends_at
    assert "Insights asks for access to Acme Made by Dev" in text(page) and "Unverified developer" in text(page)
    assert after(page, "Account") == "Acme You agree for everyone in Acme"
    assert after(page, "Signed in as").startswith(f"Ada {cast.admin.email} Not you?")
    assert after(page, "Until").endswith(str(until.year))
    assert after(page, "Next") == "Your browser goes to app.example:8443"


def test_an_agent_reads_that_they_agree_for_themself(external_agent, browse, cast):
    page = browse(cast.agent).get(authorize_url(external_agent.client, CHALLENGE, account=cast.acme.slug))
    assert after(page, "Account") == "Acme You agree for yourself only"
    assert "act for anyone but you" in text(page)


@pytest.mark.parametrize("port", [9999, 54321])
def test_an_app_on_ones_own_device_is_named_as_such_whatever_its_port(web, cast, ada, port):
    page = ada.get(ask(web, cast, REDIRECT_URI.replace("9999", str(port))))
    assert after(page, "Next").replace(" ", "") == "Yourbrowsergoestoanapponthisdevice(127.0.0.1)"


def test_a_hosted_app_leads_to_its_page_in_the_portal(cast, client, ada):
    row = factories.client(cast.dev)[0]
    version = factories.publish(factories.app(cast.dev, row), cast.dev)
    installation = installing.install(version.app, cast.acme, by=cast.admin)
    install = ada.get(f"/marketplace/{version.app.slug}/install/")
    assert after(install, "Next") == "You stay in this portal"
    page = ada.get(ada.get(f"/installations/{installation.pk}/connect/")["Location"])
    assert after(page, "Next") == "You stay in this portal, on the app’s page"


def test_an_app_with_a_setup_of_its_own_leads_there_also_when_it_is_agreed_to_again(installed, cast, ada):
    factories.agree(installed.client, cast.acme, cast.admin)
    install = ada.get(f"/marketplace/{installed.version.app.slug}/install/")
    assert after(install, "Next") == "Your browser goes to app.example , the app’s own setup"
    access, consent = installed.installation.access, Consent.objects.get()
    for path, goes in (
        (f"/consents/{consent.pk}/widen/", "Your browser goes to app.example"),
        (f"/consents/{consent.pk}/renew/", "You stay in this portal, on the app’s page"),
        (f"/authorizations/{access.pk}/reauthorize/", "Your browser goes to app.example"),
    ):
        page = ada.get(path)
        assert after(page, "Next") == goes, path
        pressed = ada.post(path, {"decision": "agree", "shown": shown(page)})
        assert pressed.status_code == 302, path
        assert pressed["Location"].endswith("/connect/") == ("app.example" in goes), path


def test_where_nothing_new_is_required_the_browser_leaves_only_if_something_is_turned_on(installed_agent, browse, cast):
    consent = factories.agree(installed_agent.client, cast.acme, cast.agent)
    version = next_version(
        installed_agent.version.app,
        cast.dev,
        required_scopes=[VIEW],
        optional_scopes=[CREATE],
        install_url="https://app.example/install",
    )
    upgrade(installed_agent.installation, version, cast.admin)
    axel, url = browse(cast.agent), f"/consents/{consent.pk}/renew/"
    page = axel.get(url)
    assert after(page, "Next") == "If you turn something on, your browser goes to app.example"
    pressed = axel.post(url, {"decision": "agree", "shown": shown(page)})
    assert pressed["Location"] == f"/installations/{installed_agent.installation.pk}/"


def test_a_page_of_one_address_agrees_to_nothing_that_goes_to_another(web, cast, ada):
    digest = shown(ada.get(ask(web, cast)))
    elsewhere = ada.post(ask(web, cast, REDIRECT_URI), {"decision": "agree", "shown": digest})
    assert elsewhere.status_code == 409 and not Consent.objects.exists()
    assert "code" in answer(ada.post(ask(web, cast), {"decision": "agree", "shown": digest}))


def test_the_icon_is_that_of_the_version_that_asks(cast, client, ada, browse):
    row = factories.client(cast.dev)[0]
    version = factories.publish(factories.app(cast.dev, row, icon=b"png"), cast.dev)
    installation = installing.install(version.app, cast.acme, by=cast.admin)
    url = f"/marketplace/{version.app.slug}/icon/"
    page = ada.get(ada.get(f"/installations/{installation.pk}/connect/")["Location"])
    assert f'src="{url}{version.pk}/"' in page.content.decode()
    assert ada.get(f"{url}{version.pk}/").content == b"png"
    newer = next_version(version.app, cast.dev, required_scopes=[VIEW, EDIT], icon=b"new")
    assert f'src="{url}{newer.pk}/"' in ada.get(f"/installations/{installation.pk}/upgrade/").content.decode()
    assert f'src="{url}{newer.pk}/"' in ada.get(f"/marketplace/{version.app.slug}/install/").content.decode()
    preview = browse(cast.dev).get(f"/apps/{version.app.slug}/versions/{newer.pk}/package/")
    assert f'src="{url}{newer.pk}/"' in preview.content.decode()
    review = browse(factories.reviewer()).get(f"/admin/marketplace/version/{newer.pk}/change/").content.decode()
    assert f'src="{url}{newer.pk}/"' in review[review.index("The consent screen, as customers see it") :]


def test_an_app_without_an_icon_has_a_drawn_one(web, cast, ada):
    assert '<span class="app-icon"' in ada.get(ask(web, cast)).content.decode()


# --- what is asked for ---


def test_permissions_are_grouped_by_product_and_those_that_only_read_come_first(cast, chat, browse):
    teams.verify_team(factories.team_of(cast.dev), by=None)
    row = factories.client(cast.dev, kind=Kind.EXTERNAL, scopes=[DELETE, EDIT, VIEW, SEND, CHATS, "chat.bots"])[0]
    page = text(browse(cast.admin).get(authorize_url(row, CHALLENGE, account=cast.acme.slug)))
    places = [
        page.index(words)
        for words in (
            "The app wants to Chat Read only Read conversations",
            "Change data Send messages",
            "The product has not published what these allow Run bots",
            "Freshservice Read only View tickets",
            "Change data Edit tickets",
            "Change and delete data Delete and restore tickets",
        )
    ]
    assert places == sorted(places)


def test_scope_ids_are_shown_on_demand_only(installed, cast, ada):
    page = ada.get(authorize_url(installed.client, CHALLENGE, account=cast.acme.slug)).content.decode()
    folded = "".join(re.findall(r"<details.*?</details>", page, re.S))
    assert VIEW in folded and EDIT in folded
    open_text = re.sub(r"<[^>]+>", " ", re.sub(r"<details.*?</details>", "", page, flags=re.S))
    assert VIEW not in open_text and "View tickets" in open_text


@pytest.mark.parametrize(
    ("scopes", "said"),
    [
        ([VIEW, CHATS], ["do anything that is not listed on this page", "change or delete anything",
                         "reach any of the company’s products other than Chat and Freshservice"]),
        ([EDIT, CHATS], ["do anything that is not listed on this page", "change or delete anything in Chat",
                         "reach any of the company’s products other than Chat and Freshservice"]),
        ([EDIT], ["do anything that is not listed on this page",
                  "reach any of the company’s products other than Freshservice"]),
        (["chat.bots", VIEW], ["change or delete anything in Freshservice",
                               "reach any of the company’s products other than Chat and Freshservice"]),
    ],
)  # fmt: skip
def test_what_the_app_cannot_do_follows_from_what_its_scopes_open(cast, chat, browse, scopes, said):
    row = factories.client(cast.dev, kind=Kind.EXTERNAL, scopes=scopes)[0]
    page = browse(cast.admin).get(authorize_url(row, CHALLENGE, account=cast.acme.slug))
    assert page.context["screen"].cannot == [*said, "see your password, or any other account"]


def test_no_product_publishes_a_call_that_another_products_scope_opens(chat):
    """What “no other product” on the page rests on."""
    document = json.loads(json.dumps(factories.DOCUMENT))
    document["paths"]["/api/v2/tickets"]["get"]["security"] = [{"oauth2": [CHATS]}]
    with pytest.raises(Exception, match=re.escape(CHATS)):
        import_document(Product.objects.get(slug="freshservice"), document)


def test_what_was_read_is_kept_with_its_groups_and_where_the_browser_went(web, cast, ada):
    agree(ada, ask(web, cast))
    words = Consent.objects.get().text.words
    assert words["groups"] == {VIEW: ["Freshservice", "Read only"], EDIT: ["Freshservice", "Change data"]}
    assert words["leads_to"] == "app.example:8443"
    receipt = text(ada.get(f"/receipts/{Entry.objects.get(event='consent.granted').pk}/"))
    assert "Freshservice · Read only" in receipt and "the browser went on to app.example:8443" in receipt


# --- nothing new ---


@shared
def agreed(web, cast, ada):
    agree(ada, ask(web, cast))
    advance(dt.timedelta(days=40))
    web.url = ask(web, cast, REDIRECT_URI)
    return web


def test_what_asks_for_nothing_new_only_says_where_the_browser_goes(agreed, cast, ada):
    page = ada.get(agreed.url)
    consent = Consent.objects.get()
    assert "Continue to Insights" in text(page) and "asks for access" not in text(page)
    assert "It asks for nothing new" in text(page) and "Already allowed: 2 permissions" in text(page)
    assert after(page, "Account") == "Acme For everyone in Acme"
    assert str(consent.expires_at.year) in after(page, "Until") and "on this device" in after(page, "Next")
    assert "code" not in page.headers.get("Location", "") and not AuthorizationCode.objects.filter(
        redirect_uri=REDIRECT_URI
    )
    got = answer(ada.post(agreed.url, {"decision": "continue", "shown": shown(page)}))
    assert got["code"].startswith("amp_ac_") and got["state"] == "xyz"


def test_continuing_moves_no_date_and_records_no_agreement(agreed, ada):
    before = Consent.objects.values().get()
    entries = Entry.objects.count()
    page = ada.get(agreed.url)
    ada.post(agreed.url, {"decision": "continue", "shown": shown(page)})
    assert Consent.objects.values().get() == before and Entry.objects.count() == entries
    # Its digest agrees to nothing either.
    pressed = ada.post(agreed.url, {"decision": "agree", "shown": shown(page)})
    assert pressed.status_code == 409 and Consent.objects.values().get() == before


def test_no_page_at_all_where_only_the_app_can_get_the_code(agreed, cast, ada):
    assert "code" in answer(ada.get(ask(agreed, cast)))


def test_prompt_consent_still_shows_the_full_page_and_its_agree_moves_the_date(agreed, ada):
    url, before = f"{agreed.url}&prompt=consent", Consent.objects.get().expires_at
    page = ada.get(url)
    assert "asks for access" in text(page) and "This does not allow the app to" in text(page)
    continued = ada.post(url, {"decision": "continue", "shown": shown(ada.get(agreed.url))})
    assert continued.status_code == 200 and "asks for access" in text(continued), "it cannot be skipped"
    assert Consent.objects.get().expires_at == before
    assert "code" in answer(ada.post(url, {"decision": "agree", "shown": shown(page)}))
    assert Consent.objects.get().expires_at > before


@pytest.mark.parametrize("forged", ["", "0" * 64])
def test_continue_works_only_on_the_page_that_was_shown(agreed, ada, forged):
    pressed = ada.post(agreed.url, {"decision": "continue", "shown": forged})
    assert pressed.status_code == 409 and "Read this page again" in text(pressed)
    assert "Continue to Insights" in text(pressed)


def test_continue_gives_nothing_that_came_up_since_the_page_was_shown(agreed, cast, ada):
    digest = shown(ada.get(agreed.url))
    credentials.add_scopes(agreed.client, scopes={CREATE: "Why"}, by=cast.dev)
    pressed = ada.post(agreed.url, {"decision": "continue", "shown": digest})
    assert pressed.status_code == 200 and "the app also wants to" in text(pressed)
    assert CREATE not in Consent.objects.get().granted


def test_cancelling_where_nothing_was_asked_declines_nothing(agreed, ada):
    assert answer(ada.post(agreed.url, {"decision": "cancel"}))["error"] == "access_denied"
    assert not Entry.objects.filter(event="consent.declined")
    assert answer(ada.post(f"{agreed.url}&prompt=consent", {"decision": "cancel"}))["error"] == "access_denied"
    assert Entry.objects.filter(event="consent.declined").count() == 1


def test_somebody_with_more_accounts_can_choose_another(agreed, cast, ada):
    assert "Choose another account" not in text(ada.get(agreed.url))
    memberships.add_member(cast.globex, cast.admin, role="admin", by=None)
    page = ada.get(agreed.url).content.decode()
    chooser = re.search(r'href="([^"]+)">Choose another account', page)[1].replace("&amp;", "&")
    choices = ada.get(chooser)
    assert "Which account is Insights for?" in text(choices)
    chosen = re.search(rf'href="([^"]+account={cast.globex.slug})"', choices.content.decode())[1].replace("&amp;", "&")
    asked = ada.get(chosen)
    assert "Insights asks for access to Globex" in text(asked), "nothing was agreed to there"


def test_someone_else_is_asked_for_their_own_agreement(external_agent, browse, cast):
    url = authorize_url(external_agent.client, CHALLENGE, account=cast.acme.slug)
    agree(browse(cast.agent), url)
    mine = browse(cast.agent).get(url)
    assert "Continue to Insights" in text(mine) and after(mine, "Account") == "Acme For yourself only"
    assert "asks for access" in text(browse(cast.agent2).get(url))
