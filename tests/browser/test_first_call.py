"""From the welcome page to the first answered call: at most six actions and three fields, and no address but the mail's."""

import re

import pytest

from tests.mailing import outbox

from .conftest import shoot

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    "javascript", [True, pytest.param(False, marks=pytest.mark.soak)], ids=["with JavaScript", "without"]
)
def test_six_actions_and_three_fields_lead_from_the_welcome_page_to_tickets(window, demo, javascript):
    page = window(java_script_enabled=javascript)
    actions, fields = [], []

    def press(name):
        main = page.locator("main")
        main.get_by_role("button", name=name, exact=True).or_(
            main.get_by_role("link", name=name, exact=True)
        ).first.click()
        actions.append(name)

    def fill(name, value):
        page.fill(f"[name={name}]", value)
        fields.append(name)

    page.goto("/")
    press("Sign up")
    fill("name", "Nia New")
    fill("email", "nia@example.com")
    fill("password1", "a horse of another colour")
    press("Sign up")
    page.get_by_text("An email with a link is on its way to you").wait_for()
    page.goto(re.search(r"https?://\S+/accounts/confirm-email/\S+", outbox()[-1].body)[0])
    actions.append("the mail's link")
    press("Confirm and sign in")
    page.get_by_role("heading", name="Make your first call").wait_for()
    shoot(page, "first-call-home")
    press("Just trying")
    page.get_by_text("asks for access to").first.wait_for()
    press("Agree")
    page.get_by_text("Your call worked: 20 tickets").wait_for()
    assert page.get_by_text("Printer on floor 3 is jammed").first.is_visible()
    shoot(page, "first-call-tickets")
    assert len(actions) <= 6 and len(fields) <= 3
    assert "code=" not in page.url and "state=" not in page.url
    page.go_back()
    assert "code=" not in page.url, "the code is in no address that the browser keeps"
