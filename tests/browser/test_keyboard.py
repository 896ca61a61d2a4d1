"""The portal without a mouse: every step by Tab, Space and Enter, and never lost on the page."""

import pytest

from consent.models import Consent

pytestmark = pytest.mark.django_db(transaction=True)

BOTH = pytest.mark.parametrize("javascript", [True, False], ids=["with JavaScript", "without"])
# What has the focus: its name, and whether it can be seen that it has.
FOCUSED = """() => {
    const element = document.activeElement, style = getComputedStyle(element), box = element.getBoundingClientRect();
    const label = element.labels?.[0] ?? element;
    return {
        name: label.textContent.trim().replace(/\\s+/g, " "),
        drawn: (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2) || style.boxShadow !== "none",
        inside: box.top >= 0 && box.bottom <= innerHeight && box.width > 0,
    };
}"""


def tab_to(page, name):
    """Press Tab until what is so called has the focus; on the way everything must show that it has it."""
    for _step in range(40):
        page.keyboard.press("Tab")
        focused = page.evaluate(FOCUSED)
        assert focused["drawn"] and focused["inside"], focused
        if name in focused["name"]:
            return
    pytest.fail(f"Tab never came to {name!r} on {page.url}")


def skip(page):
    """The first thing on every page leads past the navigation."""
    page.keyboard.press("Tab")
    assert page.evaluate(FOCUSED)["name"] == "Skip to content" and page.evaluate(FOCUSED)["drawn"]
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.id === 'main'")


@BOTH
def test_an_admin_installs_and_agrees_to_an_optional_scope_by_keyboard(sit_down, javascript):
    ada = sit_down("admin@acme.example", javascript=javascript)
    page = ada.page
    ada.open("/marketplace/")
    for name, title in (
        ("Ticket Insights", "Ticket Insights"),
        ("Install", "Install Ticket Insights"),
        ("Install in Acme", "Ticket Insights asks for access"),
    ):
        skip(page)
        tab_to(page, name)
        page.keyboard.press("Enter")
        page.wait_for_function("(title) => document.title.startsWith(title)", arg=title)
    # A form's answer keeps the address's #main: the keyboard is past the navigation already.
    tab_to(page, "Delete and restore")
    assert not page.locator("[name=optional]").is_checked(), "nothing optional is on before somebody switches it on"
    page.keyboard.press("Space")
    assert page.locator("[name=optional]").is_checked()
    tab_to(page, "Agree")
    page.keyboard.press("Enter")
    ada.sees("Ready")
    assert "freshservice.tickets.delete" in Consent.objects.get(access__account__slug="acme").granted


def test_an_agent_cancels_and_then_agrees_by_keyboard(sit_down):
    ada = sit_down("admin@acme.example")
    ada.open("/marketplace/reply-helper/install/")
    ada.press("Install in Acme")
    axel = sit_down("agent@acme.example")
    page = axel.page
    for button, outcome in (("Cancel", "You did not agree"), ("Agree", "You agreed")):
        axel.open("/installations/")
        for name in ("Authorize", "Continue to the portal", button):
            skip(page)
            tab_to(page, name)
            before = page.url
            page.keyboard.press("Enter")
            page.wait_for_function("(before) => location.href !== before", arg=before)
            page.wait_for_load_state()
        axel.sees(outcome)
    assert Consent.objects.get(access__account__slug="acme").membership.user.email == "agent@acme.example"


@BOTH
def test_what_is_wrong_with_a_form_has_the_focus_and_leads_to_the_field(sit_down, javascript):
    dev = sit_down("dev@example.com", javascript=javascript)
    page = dev.page
    dev.open("/apps/new/")
    page.fill("[name=name]", "Fresh")
    page.fill("[name=slug]", "Not An Address")
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.getAttribute('role') === 'alert'")
    assert "owercase letters" in page.evaluate("document.activeElement.textContent")
    tab_to(page, "Marketplace address")
    page.keyboard.press("Enter")
    field = page.locator("[name=slug]")
    page.wait_for_function("document.activeElement.name === 'slug'")
    assert field.get_attribute("aria-invalid") == "true"
    described = field.get_attribute("aria-describedby").split()
    assert "owercase letters" in " ".join(page.locator(f"#{each}").inner_text() for each in described)


def test_the_menu_opens_closes_and_gives_the_focus_back_by_keyboard(sit_down):
    dev = sit_down("dev@example.com")
    page = dev.page
    page.set_viewport_size({"width": 390, "height": 844})
    dev.open("/")
    tab_to(page, "Menu")
    page.keyboard.press("Enter")
    tab_to(page, "Build")
    page.keyboard.press("Escape")
    assert "Menu" in page.evaluate(FOCUSED)["name"] and not page.locator(".menu-narrow").evaluate("(menu) => menu.open")
