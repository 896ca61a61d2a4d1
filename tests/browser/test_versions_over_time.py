"""An account's way through the versions of an app, in a real browser (M4, T1, T10)."""

import pytest

# Each of its steps is a promise of tests/marketplace/; this is the same way through one browser.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.soak]
TICKETS = "freshservice.tickets."


def scopes(person):
    """The sentences under “What it may do”, on the installation's page."""
    return person.page.locator(".scope-list .scope-name").all_inner_texts()


def test_an_account_lives_with_an_app_whose_versions_come_and_go(sit_down, demo, board):
    board.published("2.0", ["view"])
    ada, dev = sit_down("admin@acme.example"), sit_down("dev@example.com")
    ada.open("/marketplace/ticket-insights/install/")
    ada.press("Install in Acme")
    ada.press("Agree")
    ada.sees("Ready")
    home = ada.page.url
    draft = board.approved("2.1", ["view", "edit"], ["delete"])
    dev.open(f"/apps/ticket-insights/versions/{draft.pk}/")
    dev.shoot("version-approved")
    dev.sees("What publishing it would do")
    dev.press("View by account")
    dev.sees("Edit tickets")
    dev.sees("acme")
    dev.shoot("version-changes")
    dev.open(f"/apps/ticket-insights/versions/{draft.pk}/")
    dev.press("Publish")
    dev.shoot("version-publish")
    dev.press("Publish")
    dev.sees("Published.")
    # Declined: everything goes on as it was.
    ada.open("/")
    ada.sees("Review update")
    ada.open("/installations/waiting/")
    ada.shoot("offers")
    ada.press("Read and decide")
    ada.sees("Edit tickets")
    ada.shoot("upgrade")
    ada.press("Decline")
    ada.sees("declined version 2.1")
    ada.shoot("installation-declined")
    assert scopes(ada) == [TICKETS + "view"]
    dev.open(f"/apps/ticket-insights/versions/{draft.pk}/changes/")
    dev.shoot("version-progress")
    # Agreed, with what is optional.
    ada.press("Read and decide")
    ada.page.check("[name=optional]")
    ada.press("Agree and update")
    ada.sees("Updated to 2.1")
    assert scopes(ada) == [TICKETS + name for name in ("delete", "edit", "view")]
    # Taken back, one of them.
    ada.press("Permissions")
    ada.page.get_by_role("checkbox").first.check()
    ada.press("Remove")
    ada.press("Remove")
    ada.sees("Removed")
    ada.open(home)
    assert scopes(ada) == [TICKETS + "edit", TICKETS + "view"]
    # Withdrawn, and back to the one before, which asks for less.
    dev.open(f"/apps/ticket-insights/versions/{draft.pk}/")
    dev.press("Withdraw")
    dev.page.fill("[name=reason]", "It merges what it should not.")
    dev.shoot("version-withdraw")
    dev.press("Withdraw")
    dev.sees("Withdrawn: It merges what it should not.")
    ada.open(home)
    ada.sees("It merges what it should not.")
    ada.shoot("installation-withdrawn")
    ada.press("Switch to 2.0")
    ada.shoot("downgrade")
    ada.press("Switch")
    ada.sees("Switched to 2.0")
    assert scopes(ada) == [TICKETS + "view"]
    ada.press("Turn on automatic updates")
    ada.sees("Automatic, when")
    ada.press("Uninstall")
    ada.press("Uninstall")
    ada.sees("no longer has access")
    ada.open("/marketplace/ticket-insights/install/")
    ada.press("Install in Acme")
    ada.sees("agreed to this app for Acme before")
    ada.press("Agree")
    ada.sees("Ready")
    assert ada.page.url != home
