"""The guides at /help/: what they link to exists, each page leads to one, and each error has a heading."""

import json
import re
from collections import Counter

import pytest
from django.conf import settings
from django.urls import Resolver404, resolve

from consent import coming_ends
from consent.actions import failing
from credentials.actions import MAX_OVERLAP_HOURS
from marketplace.package.checking import check_archive
from marketplace.package.facts import Facts
from marketplace.vendors import running
from portal.accounts.actions import notifying
from portal.foundation.limits import rates
from portal.foundation.markdown import anchor_of
from portal.help import guides as helping
from portal.help.sections import SECTIONS, section_of
from tests import descriptions
from tests.marketplace import packages
from tests.oauth import basic
from tests.test_architecture import addresses

pytestmark = pytest.mark.django_db
MANIFEST = packages.GOOD["manifest.json"] | {"modules": {"common": {}, "x": {}}}
GUIDES = sorted(helping.FOLDER.glob("*.md"))


def anchors(slug):
    return {section.anchor for section in helping.guides()[slug].sections}


def leads_somewhere(address):
    path, _hash, anchor = address.partition("#")
    if match := re.fullmatch(r"/help/([\w-]+)/", path):
        return match[1] in helping.guides() and (not anchor or anchor in anchors(match[1]))
    try:
        return bool(resolve(path))
    except Resolver404:
        return False


def test_every_guide_is_listed_and_begins_with_its_title_and_a_summary():
    assert {path.stem for path in GUIDES} == {*helping.guides()}
    for guide in helping.guides().values():
        assert guide.text.startswith(f"# {guide.title}\n\n{guide.summary[:20]}")
        assert len(guide.summary) < 160 and not re.search(r"[`*\[]", guide.summary), guide.slug


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)
def test_every_link_of_a_guide_leads_somewhere_and_no_two_headings_have_the_same_anchor(path):
    guide = helping.guides()[path.stem]
    links = re.findall(r'<a href="([^"]+)"', guide.html)
    assert [link for link in links if not leads_somewhere(link if link[0] != "#" else guide.url + link)] == []
    twice = [anchor for anchor, times in Counter(section.anchor for section in guide.sections).items() if times > 1]
    assert twice == [] and anchor_of("`… is missing`") == "is-missing"


def test_each_page_of_the_portal_leads_to_a_section_that_exists():
    assert [target for target in SECTIONS.values() if not leads_somewhere("/help/{}/#{}".format(*f"{target}#".split("#")[:2]))] == []  # fmt: skip
    served = [address for address, _view in addresses()]
    # Every beginning is of some page, and home alone has the general one.
    assert [each for each in SECTIONS if not any(address.startswith(each) for address in served)] == []
    for_programs = ("oauth/", ".well-known/", "favicon", "healthz", "readyz", "llms.txt")
    without = [each for each in served if section_of(each) == SECTIONS[""] and not each.startswith((*for_programs, "dev/", "help/"))]  # fmt: skip
    assert without == [""]


def test_pages_show_the_link_wide_narrow_signed_out_and_refused(client, cast, browse):
    for browser, path, title in (
        (client, "/", "Help: Make your first call"),
        (client, "/marketplace/", "Help: Install an app"),
        (client, "/nothing/", "Help: Make your first call"),
        (browse(cast.dev), "/credentials/new/", "Help: Create OAuth credentials"),
        (client, "/oauth/authorize", "Help: Agree"),
        (client, "/admin/login/", "Help: "),
    ):
        assert title in browser.get(path, follow=True).content.decode(), path


def test_search_finds_sections_and_never_fails(client):
    found = client.get("/help/", {"q": "ROTATE secret"}).content.decode()
    assert found.index("Rotate the secret") < found.index("All guides")
    assert "Nothing found" in client.get("/help/", {"q": "zebra <b>"}).content.decode()
    assert client.get("/help/", {"q": "x" * 5000}).status_code == 200
    assert client.get("/help/unknown/").status_code == client.get("/help/unknown.md").status_code == 404


def test_each_guide_is_markdown_too_and_llms_txt_lists_all(client):
    listed = client.get("/llms.txt").content.decode()
    for slug, guide in helping.guides().items():
        answer = client.get(f"/help/{slug}.md")
        assert answer["Content-Type"] == "text/markdown; charset=utf-8" and answer.content.decode() == guide.text
        assert f"[{guide.title}]({settings.BASE_URL}/help/{slug}.md): {guide.summary}" in listed
        # Commands have the portal's own address, and the page shows what the file has.
        assert "<portal>" not in guide.text


def test_each_description_that_the_code_gives_has_a_heading_and_no_heading_is_left_over():
    texts, headings = descriptions.given(), descriptions.headings()
    assert sorted(text for text in texts if not any(descriptions.is_same(each, text) for each in headings)) == []
    stale = [each for each in headings if not any(descriptions.is_same(each, text) for text in texts)]
    assert stale == []


def test_every_answer_of_the_test_client_is_watched(client):
    """tests/descriptions.py: no test sees a description that has no heading."""
    assert client.request.__func__.__module__ == "tests.descriptions"
    assert descriptions.heading_for("The consent was revoked by an admin on 2026-01-31 12:00 UTC")
    assert descriptions.heading_for("Wrong") is None


def test_the_configuration_that_a_guide_shows_is_valid(cast):
    text = helping.guides()["multi-oauth"].text
    config = json.loads(re.search(r"```json\n(.*?)```", text, re.S)[1])
    report = check_archive(
        packages.as_zip({"manifest.json": MANIFEST, "config/oauth_config.json": config}), Facts(None)
    )
    assert report.valid and not report.problems


def test_the_numbers_that_the_guides_state_are_the_codes():
    texts = {slug: " ".join(guide.text.split()) for slug, guide in helping.guides().items()}
    minutes, days = settings.ACCESS_TOKEN_LIFETIME.seconds // 60, settings.CONSENT_LIFETIME.days
    checks, window = rates.RATES["packages checked by team"]
    for slug, stated in (
        ("start", f"`access_token` for {minutes} minutes"),
        ("start", f"once, for {settings.AUTHORIZATION_CODE_LIFETIME.seconds} seconds"),
        ("tokens", f"| authorization code | {settings.AUTHORIZATION_CODE_LIFETIME.seconds} seconds, once |"),
        ("tokens", f"| access token | {minutes} minutes |"),
        ("tokens", f"| agreement | {days} days after"),
        ("tokens", f"Within {settings.REFRESH_RETRY_WINDOW.seconds} seconds"),
        ("tokens", f"for {failing.KEPT.days} days"),
        ("workflows", f"{rates.RATES['token by client'][0]:,} times a minute"),
        ("packages", f"can check {checks} packages in {({600: 'ten'})[window]} minutes"),
        ("going-live", f"from 0 to {MAX_OVERLAP_HOURS}"),
        ("admins", f"lasts {days} days"),
        ("admins", "{} days, {} days and {} day before".format(*(each.days for each in coming_ends.TELL_AHEAD))),
        ("agents", f"ends {days} days after"),
        ("reviewers", f"at most {notifying.MAX_TO_REVIEWERS} a day"),
        ("errors", f"within {running.SECONDS:.0f} seconds"),
        ("errors", f"more than {running.MAX_BODY // 2**20} MB"),
    ):
        assert stated in texts[slug], (slug, stated)


def test_the_words_that_are_passed_on_from_oauthlib_are_given(external, browse, cast):
    page = browse(cast.admin).get("/oauth/authorize").content.decode()
    other = browse(cast.admin).get("/oauth/authorize?client_id=unknown").content.decode()
    revoking = external.http.post("/oauth/revoke", "x=1", content_type="application/x-www-form-urlencoded",
                                  **basic(external.client.client_id, external.secret)).json()  # fmt: skip
    told = {text for text in descriptions.OF_OTHERS if text in page or text in other} | {revoking["error_description"]}
    assert told == descriptions.OF_OTHERS
