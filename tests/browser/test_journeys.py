"""The developer's, admin's, agent's and reviewer's ways through the portal, in a real browser."""

import pytest

from .conftest import shoot

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    "javascript", [True, pytest.param(False, marks=pytest.mark.soak)], ids=["with JavaScript", "without"]
)
def test_a_developer_creates_credentials_and_submits_a_version(sit_down, javascript):
    dev = sit_down("dev@example.com", javascript=javascript, by_form=True)
    page = dev.page
    dev.shoot("home-developer")
    dev.open("/settings/")
    dev.shoot("settings")
    dev.press("OAuth credentials")
    dev.shoot("credentials-list")
    dev.press("Create OAuth Credentials")
    page.fill("[name=name]", "Asset Mirror")
    page.fill("[name=redirect_uris]", "https://mirror.example/callback\nhttp://localhost/callback")
    page.check("[name=kind][value=platform]")
    page.check("[name=level][value=account]")
    if javascript:
        page.fill("#scope-search", "delete and restore tickets")
    else:
        page.locator("summary", has_text="Tickets").first.click()
    page.check("input[value='freshservice.tickets.delete']")
    page.fill("[name='why:freshservice.tickets.delete']", "Mirrors what is deleted elsewhere")
    if javascript:
        assert page.locator("#scope-chips .chip").all_inner_texts() == ["Delete and restore tickets"]
    dev.shoot("credentials-create")
    dev.press("Create Credentials")
    secret = page.input_value("#client-secret")
    assert secret.startswith("amp_cs_")
    dev.shoot("credentials-created")
    dev.press("I have copied it")
    assert secret not in page.content()
    dev.shoot("credentials-view")
    dev.open("/apps/")
    dev.shoot("apps-list")
    dev.press("Create an app")
    page.locator("[name=name]").press_sequentially("Asset Mirror")
    assert page.input_value("[name=slug]") == ("asset-mirror" if javascript else "")
    page.select_option("[name=client]", label="Asset Mirror")
    dev.press("Create app")
    dev.press("Add a version")
    for name, value in {
        "number": "1.0",
        "name": "Asset Mirror",
        "tagline": "Mirrors",
        "description": "Text",
        "release_notes": "First",
    }.items():
        page.fill(f"[name={name}]", value)
    page.select_option("[name=category]", "productivity")
    assert page.input_value("[name='level:freshservice.tickets.delete']") == "required"
    dev.shoot("version-edit")
    dev.press("Save draft")
    dev.shoot("version-draft")
    dev.sees("Saved")
    dev.press("Submit for review")
    dev.shoot("version-submit")
    dev.press("Submit")
    dev.sees("In review")
    dev.open("/ledger/")
    dev.shoot("ledger-developer")


@pytest.mark.parametrize("javascript", [True, False], ids=["with JavaScript", "without"])
def test_an_admin_installs_cancels_agrees_and_uninstalls(sit_down, javascript):
    ada = sit_down("admin@acme.example", javascript=javascript)
    ada.open("/marketplace/")
    ada.shoot("marketplace")
    ada.page.get_by_role("link", name="Ticket Insights").click()
    ada.shoot("listing")
    ada.press("Install")
    ada.shoot("install")
    ada.press("Install in Acme")
    ada.sees("asks for access to")
    ada.shoot("consent")
    ada.press("Cancel")
    ada.sees("Not finished")
    ada.shoot("installation-unfinished")
    ada.press("Finish installing")
    ada.sees("asks for access to")
    ada.press("Agree")
    ada.sees("Ready")
    ada.shoot("installation-ready")
    ada.press("Reauthorize")
    ada.press("Cancel")
    ada.sees("Ready")
    ada.open("/installations/")
    ada.shoot("installations-admin")
    ada.page.get_by_role("link", name="Ticket Insights").click()
    ada.press("Uninstall")
    ada.shoot("uninstall")
    ada.press("Uninstall")
    ada.sees("no longer has access")
    ada.shoot("uninstalled")
    ada.press("View receipt")
    ada.sees("Ledger hash")
    ada.shoot("receipt")
    ada.open("/ledger/")
    ada.shoot("ledger-admin")


def test_an_agent_authorizes_for_themself_and_revokes(sit_down, demo):
    ada = sit_down("admin@acme.example")
    ada.open("/marketplace/reply-helper/install/")
    ada.press("Install in Acme")
    axel = sit_down("agent@acme.example")
    axel.open("/installations/")
    axel.sees("Not authorized")
    axel.shoot("installations-agent")
    client = demo["by_name"]["Reply Helper"]
    query = f"response_type=code&client_id={client['client_id']}&redirect_uri={client['redirect_uris'][0]}&state=s&code_challenge={'A' * 43}&code_challenge_method=S256&account=acme"
    axel.open(f"/oauth/authorize?{query}")
    axel.shoot("consent-agent")
    url = axel.is_sent_to("http://127.0.0.1:9000/", lambda: axel.press("Agree"))
    assert "code=amp_ac_" in url and "state=s" in url
    axel.open("/authorizations/")
    axel.shoot("authorizations")
    axel.press("Revoke")
    axel.shoot("revoke")
    axel.press("Revoke")
    axel.open("/installations/")
    axel.sees("Not authorized")


def test_a_reviewer_rejects_with_a_reason_that_the_developer_reads(sit_down):
    rita = sit_down("reviewer@example.com")
    rita.open("/admin/marketplace/version/")
    rita.shoot("review-queue")
    rita.page.get_by_role("link", name="Shift Planner").first.click()
    rita.shoot("review")
    rita.press("Reject")
    # A ready text joins what was written.
    rita.page.fill("[name=reason]", "Say which shifts are read.")
    rita.press("The listing is unclear")
    written = rita.page.input_value("[name=reason]")
    assert written.startswith("Say which shifts are read.\n\nThe description does not say")
    rita.shoot("review-reject")
    rita.press("Reject")
    rita.sees("No other version waits for your decision.")
    dev = sit_down("dev@example.com")
    dev.open("/apps/shift-planner/")
    dev.press("View")
    dev.sees("Say which shifts are read.")
    dev.shoot("version-rejected")


def test_pages_for_people_who_are_not_signed_in(stranger):
    for name, path in (
        ("welcome", "/"),
        ("sign-in", "/accounts/login/"),
        ("sign-up", "/accounts/signup/"),
        ("not-found", "/nothing/"),
        ("authorize-error", "/oauth/authorize?client_id=x"),
    ):
        stranger.goto(path)
        shoot(stranger, name)


def test_an_admin_takes_a_permission_back_and_allows_it_again(sit_down):
    ada = sit_down("admin@acme.example")
    ada.open("/marketplace/ticket-insights/install/")
    ada.press("Install in Acme")
    for switch in ada.page.get_by_role("switch").all():
        assert not switch.is_checked()
        switch.check()
    ada.press("Agree")
    ada.sees("View receipt")
    ada.press("Permissions")
    ada.shoot("permissions")
    for box in ada.page.get_by_role("checkbox").all():
        box.check()
    ada.press("Remove")
    ada.sees("may stop working without it")
    ada.shoot("permissions-take-back")
    ada.press("Remove")
    ada.sees("can no longer use these")
    ada.shoot("permissions-removed")
    ada.press("View receipt")
    ada.page.locator("main details > summary").click()
    ada.shoot("receipt-taken-back")
    ada.press("← Back")
    ada.sees("Receipts")
    ada.shoot("installation-receipts")
    ada.press("Permissions")
    ada.sees("no longer has any permissions")
    ada.press("Allow more")
    ada.shoot("permissions-allow-more")
    ada.press("Agree")
    ada.sees("View receipt")
    ada.press("Uninstall")
    ada.press("Uninstall")
    ada.open("/marketplace/ticket-insights/install/")
    ada.press("Install in Acme")
    ada.sees("agreed to this app")
    ada.shoot("consent-again")


def test_a_phone_shows_ids_endpoints_and_secrets_of_credentials_within_two_screens(sit_down, demo):
    dev = sit_down("dev@example.com")
    dev.page.set_viewport_size({"width": 390, "height": 844})
    dev.open(f"/credentials/{demo['by_name']['Reply Helper']['client_id']}/")
    boxes = [dev.page.locator(f"#{name}") for name in ("client-id", "authorize-url", "token-url", "metadata-url")]
    boxes += [dev.page.get_by_text("Current", exact=True), dev.page.get_by_role("button", name="Rotate secret")]
    for box in (box.bounding_box() for box in boxes):
        assert box["y"] + box["height"] <= 2 * 844


def test_chips_follow_what_is_ticked_and_lead_to_it(sit_down):
    dev = sit_down("dev@example.com")
    page = dev.page
    dev.open("/credentials/new/")
    chips, box = page.locator("#scope-chips .chip"), page.locator("input[value='freshservice.tickets.view']")
    assert not page.locator("#scope-chips").is_visible()
    page.locator("summary", has_text="Tickets").first.click()
    box.check()
    assert chips.all_inner_texts() == ["View tickets"]
    page.locator("summary", has_text="Tickets").first.click()
    chips.click()
    # A link into a closed group opens it.
    assert box.is_visible()
    box.uncheck()
    assert chips.count() == 0
