"""A team's publisher profile: what customers see of it, who may change it, and what staff confirmed stays confirmed."""

import io
from functools import partial

import pytest
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, transaction
from django.db.models.functions import Now
from django.test import Client
from PIL import Image

from credentials.models import Product
from portal.accounts.actions import profiles, teams
from portal.accounts.lookalikes import looks_within
from portal.accounts.models import Team
from portal.ledger.models import Entry
from tests import factories
from tests.migrating import back_to, forward
from tests.people.forms import text
from tests.servers import together

pytestmark = pytest.mark.django_db


@pytest.fixture
def team(cast):
    return factories.team_of(cast.dev)


@pytest.fixture
def staff():
    return factories.person("Sam", team=False, is_staff=True, is_superuser=True)


def url_of(team, page="profile"):
    return f"/teams/{team.public_id}/{page}/"


def rename(team, name, by):
    return profiles.change_profile(team, by=by, name=name)


def picture(kind="PNG", colour="red"):
    made = io.BytesIO()
    Image.new("RGB", (300, 200), colour).save(made, kind)
    return SimpleUploadedFile("logo", made.getvalue())


def test_an_owner_changes_the_profile_and_customers_see_it(cast, team, browse):
    dev = browse(cast.dev)
    sent = {
        "name": "Acorn Labs",
        "upload": picture(),
        "website": "acorn.example",
        "support_url": "https://acorn.example/help",
        "privacy_url": "https://acorn.example/privacy",
    }
    page = dev.post(url_of(team), sent, follow=True)
    assert page.redirect_chain == [(url_of(team), 302)] and "Saved." in text(page)
    team.refresh_from_db()
    assert (team.name, team.website) == ("Acorn Labs", "https://acorn.example")
    logo = Client().get(url_of(team, "logo"))
    assert logo["Content-Type"] == "image/png" and Image.open(io.BytesIO(logo.content)).size == (128, 128)
    entry = Entry.objects.get(event="team.profile_changed")
    assert (entry.actor, entry.details["name"]) == (f"person:{cast.dev.public_id}", "Acorn Labs")


def test_the_name_of_a_person_that_a_team_had_is_not_recorded(cast, team):
    rename(team, "Acorn Labs", cast.dev)
    assert cast.dev.name not in str(Entry.objects.get(event="team.profile_changed").details)


def test_a_logo_is_removed(cast, team, browse):
    dev = browse(cast.dev)
    dev.post(url_of(team), {"name": team.name, "upload": picture()})
    assert dev.get(url_of(team, "logo")).status_code == 200
    dev.post(url_of(team), {"name": team.name, "remove_logo": "on"})
    assert dev.get(url_of(team, "logo")).status_code == 404


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"name": ""}, "This field is required"),
        ({"name": "…!"}, "Use letters or digits in the name"),
        ({"name": "x" * 81}, "at most 80 characters"),
        ({"name": "A\u200bcorn"}, "invisible character"),
        ({"website": "http://acorn.example"}, "Enter a valid URL"),
        ({"website": "javascript:alert(1)"}, "Enter a valid URL"),
        ({"support_url": "ftp://acorn.example"}, "Enter a valid URL"),
        ({"upload": SimpleUploadedFile("logo.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>")}, "not a PNG"),
    ],
)
def test_a_bad_profile_is_refused_and_changes_nothing(cast, team, browse, sent, said):
    before = Team.objects.filter(pk=team.pk).values().get()
    page = browse(cast.dev).post(url_of(team), {"name": "Acorn", **sent})
    assert page.status_code == 422 and said in text(page)
    assert Team.objects.filter(pk=team.pk).values().get() == before


def test_only_owners_change_a_profile_and_others_do_not_find_it(cast, team, browse):
    mate = factories.person("Mate", team=False)
    teams.add_teammate(team, mate, role="member", by=cast.dev)
    for user in (mate, cast.admin, cast.agent):
        for page in ("profile", "verification"):
            assert browse(user).post(url_of(team, page), {"name": "Theirs"}).status_code == 404
    assert Client().post(url_of(team), {"name": "Theirs"}).status_code == 302
    assert browse(cast.dev).get(url_of(team, "verification")).status_code == 405


@pytest.mark.parametrize(
    "name", ["ACORN LABS", "Acorn-Labs", "Acornlabs", "Асоrn Lаbs", "Ácorn Labs", "Acorn 1abs", "Acom Labs"]
)
def test_a_name_that_looks_like_another_teams_is_refused(cast, team, name):
    rename(team, "Acorn Labs", cast.dev)
    other = factories.person("Other")
    with pytest.raises(profiles.NameIsTaken):
        rename(factories.team_of(other), name, other)


@pytest.mark.parametrize(
    "name",
    ["freshservice", "Fresh Service", "Freshserv1ce", "Frеshservice", "Freshservice Inc", "The official Freshservice team",
     "Acme Freshservice consultants", "Acme (F-r-e-s-h-s-e-r-v-i-c-e), GmbH", "Freshservice’s friends"],
)  # fmt: skip
def test_a_name_that_looks_like_a_products_or_has_one_in_it_is_refused(cast, team, name):
    factories.product()
    with pytest.raises(profiles.NameIsTaken):
        rename(team, name, cast.dev)


@pytest.mark.parametrize(("product", "name"), [("Freshteam", "Fresh Team"), ("WhatsApp", "Whats-app friends")])
def test_a_name_made_of_words_that_say_nothing_passes_for_no_product_either(cast, team, product, name):
    factories.product()
    Product.objects.update(name=product)
    with pytest.raises(profiles.NameIsTaken):
        rename(team, name, cast.dev)


@pytest.mark.parametrize("name", ["Freshservicing", "Re-freshservices", "Fresh Acme service", "Fréshsérvicés"])
def test_a_name_that_only_begins_or_ends_like_a_products_is_allowed(cast, team, name):
    factories.product()
    assert rename(team, name, cast.dev).name == name


@pytest.mark.parametrize(
    ("name", "beside_any", "beside_verified"),
    [("Acorn Labs GmbH", False, False), ("The Acorn Labs Support Team", False, False),
     ("Acorn Labs consultants", True, False), ("Friends of Acom-Labs", True, False),
     ("Acorn", True, True), ("Labs", True, True), ("Acorn & Oak Labs", True, True)],
)  # fmt: skip
def test_the_name_of_a_verified_team_is_in_no_other_and_legal_forms_tell_no_two_apart(
    cast, staff, team, name, beside_any, beside_verified
):
    rename(team, "Acorn Labs Inc.", cast.dev)
    other = factories.person("Other")

    def is_allowed():
        try:
            with transaction.atomic():
                rename(factories.team_of(other), name, other)
                transaction.set_rollback(True)
        except profiles.NameIsTaken:
            return False
        return True

    assert is_allowed() == beside_any
    teams.verify_team(team, by=staff)
    assert is_allowed() == beside_verified
    assert rename(team, "Acorn Labs of Berlin", cast.dev), "its own name is in it"


def test_verified_teams_within_a_name_are_found_by_an_index(cast):
    name = " ".join(f"a{number}" for number in range(25))
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    plan = profiles.verified_teams_within(name).explain()
    assert "one_team_per_look" in plan and "Seq Scan" not in plan
    assert len(looks_within("\ufdfa" * 80)) < 10_000


def test_names_of_a_former_commit_get_their_looks_again(cast, staff):
    first, second, third = (factories.team_of(factories.person(name)) for name in ("Ann", "Ben", "Cyd"))
    names = {first: "Acorn Ltd", second: "Acorn Inc", third: "Oak"}
    back_to("accounts", "0011_mail")
    for team, name in names.items():
        Team.objects.filter(pk=team.pk).update(name=name, look=name.lower().replace(" ", ""))
    Team.objects.filter(pk=second.pk).update(verified_at=Now())
    forward()
    looks = [Team.objects.get(pk=team.pk).look for team in names]
    assert looks == ["", "acom", "oak"], "the verified one keeps the name"


def test_a_team_may_write_its_own_name_otherwise(cast, team):
    rename(team, "Acorn Labs", cast.dev)
    assert rename(team, "ACORN Labs", cast.dev).name == "ACORN Labs"


def test_a_name_of_another_script_is_allowed(cast, team):
    assert rename(team, "日本アプリ", cast.dev).name == "日本アプリ"
    other = factories.person("Other")
    with pytest.raises(profiles.NameIsTaken):
        rename(factories.team_of(other), "日本 アプリ", other)


@pytest.mark.parametrize(
    "new",
    [{"name": "Other"}, {"website": "https://other.example"}, {"logo": b"png"},
     {"support_url": "https://acorn.example/help"}, {"privacy_url": "https://acorn.example/privacy"}],
)  # fmt: skip
def test_whatever_customers_see_beside_the_verified_mark_ends_the_verification_when_it_changes(cast, staff, team, new):
    """The support and privacy links too: somebody who takes over a team's sign-in would lead customers elsewhere."""
    teams.verify_team(team, by=staff)
    assert profiles.change_profile(team, by=cast.dev, **new).verified_at is None
    assert Entry.objects.filter(event="team.verification_ended").exists()


def test_staff_verify_the_profile_that_they_read_or_are_told_that_it_changed(cast, staff, team, browse):
    stale, stan = "Something changed while you were reading", browse(staff)
    window = f"/admin/accounts/team/{team.pk}/change/"
    profiles.change_profile(team, by=cast.dev, website="https://acorn.example")
    button = next(each["url"] for each in stan.get(window).context["buttons"] if each["label"] == "Verify")
    profiles.change_profile(team, by=cast.dev, support_url="https://bank.example")
    page = stan.get(button, follow=True)
    assert page.redirect_chain == [(window, 302)] and stale in text(page)
    page = stan.get(button.partition("?")[0])
    assert "https://bank.example" in text(page)
    profiles.change_profile(team, by=cast.dev, logo=b"png")
    for shown in (page.context["shown"], "", "é"):
        page = stan.post(button.partition("?")[0], {"shown": shown})
        assert page.status_code == 422 and stale in text(page) and not Team.objects.get(pk=team.pk).verified_at
    stan.post(button.partition("?")[0], {"shown": page.context["shown"]})
    assert Team.objects.get(pk=team.pk).verified_at


def test_saving_what_was_there_changes_nothing(cast, staff, team, browse):
    teams.verify_team(team, by=staff)
    browse(cast.dev).post(url_of(team), {"name": team.name})
    team.refresh_from_db()
    assert team.verified_at and not Entry.objects.filter(event="team.profile_changed").exists()


def test_a_team_asks_for_verification_reads_why_not_and_asks_again(cast, staff, team, browse):
    dev = browse(cast.dev)
    assert "add your website and save it first" in text(dev.get(url_of(team)))
    assert "Add your website first" in text(dev.post(url_of(team, "verification"), follow=True))
    dev.post(url_of(team), {"name": team.name, "website": "https://acorn.example"})
    assert "has been asked" in text(dev.post(url_of(team, "verification"), follow=True))
    profiles.refuse_verification(team, reason="The website does not name you.", by=staff)
    assert "The website does not name you." in text(dev.get(url_of(team)))
    dev.post(url_of(team, "verification"))
    team.refresh_from_db()
    assert team.verification_asked_at and not team.verification_refused
    teams.verify_team(team, by=staff)
    assert "verified your team" in text(dev.get(url_of(team)))


def test_staff_filter_the_teams_that_wait_for_verification_if_any_does(cast, staff, team, browse):
    window = browse(staff)
    assert "Requested" not in text(window.get("/admin/accounts/team/")).replace("Verification requested", "")
    profiles.change_profile(team, by=cast.dev, website="https://acorn.example")
    profiles.ask_for_verification(team, by=cast.dev)
    waiting = text(window.get("/admin/accounts/team/?asked=yes"))
    assert "All Requested" in waiting and team.name in waiting and "1 row" in waiting


def test_only_what_waits_is_refused_with_a_reason_of_staff(cast, staff, team):
    with pytest.raises(profiles.NotWaiting):
        profiles.refuse_verification(team, reason="No.", by=staff)
    profiles.change_profile(team, by=cast.dev, website="https://acorn.example")
    profiles.ask_for_verification(team, by=cast.dev)
    with pytest.raises(profiles.NothingToVerify):
        profiles.ask_for_verification(team, by=cast.dev)


def test_action_itself_refuses_what_no_form_checked(cast, team):
    with pytest.raises(ValidationError):
        profiles.change_profile(team, by=cast.dev, website="http://acorn.example")


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_of_two_teams_that_take_a_name_at_once_one_gets_it(team, cast):
    other = factories.person("Other")
    names = (cast.dev, "Acorn"), (other, "ACORN")
    got = together(*(partial(rename, factories.team_of(person), name, person) for person, name in names))
    assert sorted(type(each).__name__ for each in got) == ["NameIsTaken", "Team"]


def test_a_team_that_changes_what_staff_check_has_to_ask_again(cast, team):
    profiles.change_profile(team, by=cast.dev, website="https://acorn.example")
    profiles.ask_for_verification(team, by=cast.dev)
    assert not profiles.change_profile(team, by=cast.dev, website="https://bank.example").verification_asked_at


def test_of_two_teams_that_look_alike_one_is_verified(cast, staff):
    first, second = (factories.team_of(factories.person("Sam")) for _number in range(2))
    teams.verify_team(first, by=staff)
    with pytest.raises(profiles.NameIsTaken):
        teams.verify_team(second, by=staff)


def test_a_name_that_is_read_as_very_many_letters_is_no_error(cast, team):
    assert rename(team, "\ufdfa" * 80, cast.dev).name == "\ufdfa" * 80


def test_why_a_team_is_not_verified_is_told_and_kept_whole(cast, staff, team):
    profiles.change_profile(team, by=cast.dev, website="https://acorn.example")
    profiles.ask_for_verification(team, by=cast.dev)
    with pytest.raises(profiles.ReasonMissing):
        profiles.refuse_verification(team, reason=" ", by=staff)
    assert profiles.refuse_verification(team, reason="Why. " * 300, by=staff).verification_refused == "Why. " * 300
