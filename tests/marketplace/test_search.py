"""The marketplace's search: which words find an app, for whom, in which order, and that nothing typed breaks it."""

import pytest
from django.db import IntegrityError, connection, transaction

from marketplace.actions import publishing
from marketplace.models import Listing
from tests import factories
from tests.marketplace.versions import next_version
from tests.migrating import back_to, forward, guards_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def found(browse, cast):
    """A function that searches as a person and returns the names in the order of the page."""

    def search(words, by=cast.admin):
        page = browse(by).get("/marketplace/", {"q": words})
        assert page.status_code == 200, words
        return [version.name for version in page.context["page_obj"]]

    return search


def published(cast, name, **more):
    draft = factories.app(cast.dev, factories.client(cast.dev)[0], name=name, **more)
    return factories.publish(draft, cast.dev)


def test_the_start_of_each_word_finds_an_app_by_name_tagline_and_address(cast, found):
    version = published(cast, "Ünïcode Desk-Mate", tagline="Answers customers’ e-mails, 24/7")
    for words in ("desk", "DESK mat", "mate ünï", "custom answ", "mails 24", "e-mail", "desk-mate", version.app.slug):
        assert found(words) == ["Ünïcode Desk-Mate"], words
    for words in ("esk", "desk nothing", "unicode", "answers desk zzz"):
        assert found(words) == [], words


@pytest.mark.parametrize(
    "words",
    ["'", "''\\", "a & | ! b", "<->", "a:*", ":*", "(", "%", "_", "!!!", "–", "😀", "日本", "a" * 5000, "a " * 5000, "'a\\':*", "\t\n", "$$"],
)  # fmt: skip
def test_whatever_is_typed_is_answered(cast, found, words):
    published(cast, "Desk")
    assert found(words) in ([], ["Desk"])
    assert found(f"{words[:90]} desk") in ([], ["Desk"])


def test_apps_with_the_word_in_their_name_come_first(cast, found):
    published(cast, "Aardvark", tagline="Works with radar")
    published(cast, "Radar")
    published(cast, "Zebra radar")
    assert found("radar") == ["Radar", "Zebra radar", "Aardvark"]


def test_words_of_a_version_are_found_by_those_only_who_see_it(cast, found):
    version = published(cast, "Desk")
    next_version(version.app, cast.dev, custom={cast.acme.slug}, name="Secret project")
    assert found("secret") == found("project") == ["Secret project"] and found("desk") == []
    assert found("secret", by=cast.globex_admin) == [] and found("desk", by=cast.globex_admin) == ["Desk"]


def test_an_app_is_found_by_the_words_of_the_version_that_is_listed_now(cast, found):
    version = published(cast, "Desk")
    assert found("counter") == []
    newer = next_version(version.app, cast.dev, name="Counter")
    assert found("counter") == ["Counter"] and found("desk") == []
    publishing.withdraw_version(newer, reason="It is broken", by=cast.dev)
    assert found("counter") == [] and found("desk") == ["Desk"]


def test_versions_from_before_the_search_are_found(cast, found):
    version = published(cast, "Desk")
    guards = {table: guards_of(table) for table in ("marketplace_version", "marketplace_app")}
    back_to("marketplace", "0012_app_for_accounts")
    forward()
    assert {table: guards_of(table) for table in guards} == guards
    assert found("des") == ["Desk"]
    assert "'desk'" in Listing.objects.get(version=version).search


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE marketplace_listing SET search = 'fraud'::tsvector",
        "DELETE FROM marketplace_listing",
        "INSERT INTO marketplace_listing (app_id, version_id, reach, name, category, published_at, search)"
        " SELECT app_id, id, 'all', 'Fraud', category, now(), ''::tsvector FROM marketplace_version",
    ],
)
def test_sql_cannot_list_anything_but_what_is_published(cast, found, statement):
    published(cast, "Desk")
    with (
        pytest.raises(IntegrityError, match="of marketplace_listing is refused"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
    assert found("desk") == ["Desk"]
