"""Each person's way through the portal, at both widths in both themes: a picture of every page, and axe on it.

`make screenshots` runs it alone. The pictures and their index.html are in var/screenshots/.
"""

import datetime as dt
import re
from urllib.parse import urlencode

import pytest
from django.core.exceptions import PermissionDenied, SuspiciousOperation

from consent.models import Access
from credentials import actions as credentials
from credentials.models import Client
from marketplace.actions import installing, publishing
from marketplace.models import App, Connection, Version
from portal.accounts.actions import memberships
from portal.accounts.models import Account, Team, User
from portal.demo import mail as demo_mail
from portal.demo import pictures
from tests import factories
from tests.clock import advance
from tests.factories import CREATE, DELETE, EDIT, VIEW
from tests.mailing import outbox
from tests.marketplace import packages

from .album import WAYS, Album, write_index
from .looking import AXE, EVERYTHING, WIDTHS

# A picture of the whole page shows what is loaded only when somebody comes near it.
LOAD_IMAGES = """() => Promise.all([...document.images].map((image) => {
    image.loading = "eager";
    return image.decode().catch(() => {});
}))"""
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.soak]


class Walk:
    """One journey in one way. `problems` are what axe finds on the way, and pages that scroll sideways."""

    def __init__(self, journey, way, sit_down, window):
        width, self.theme = way.split("-")
        self.size = {"width": WIDTHS[width], "height": 900 if width == "wide" else 844}
        self.is_narrow = width == "narrow"
        self.album, self.problems = Album(journey, way), []
        self._sit_down, self._window = sit_down, window
        self._how = {"axe": True, "reduced_motion": "reduce", "color_scheme": self.theme}

    def person(self, email):
        """Return somebody who is signed in."""
        someone = self._sit_down(email, **self._how)
        someone.page.set_viewport_size(self.size)
        return someone

    def stranger(self):
        """Return a page of somebody who is not signed in."""
        page = self._window(java_script_enabled=True, **self._how)
        page.set_viewport_size(self.size)
        return page

    def look(self, who, step, text):
        """Look at a page once it shows `text`, and take its picture."""
        page = getattr(who, "page", who)
        page.locator("main").get_by_text(text).filter(visible=True).first.wait_for()
        page.wait_for_load_state()
        given = {"theme": self.theme, "options": EVERYTHING, "enough": []}
        problems, _styles = page.evaluate(AXE, given)
        self.problems += [f"{step} ({page.url}): {problem}" for problem in problems]
        page.evaluate(LOAD_IMAGES)
        page.screenshot(path=self.album.place(step), full_page=True)


@pytest.fixture(params=WAYS)
def walk(request, sit_down, window):
    journey = request.function.__name__.removeprefix("test_").replace("_", " ")
    walk = Walk(journey, request.param, sit_down, window)
    yield walk
    write_index()
    assert not walk.problems, "\n".join(walk.problems)


def user(email):
    return User.objects.get(email=email)


def unchecked(page):
    """Have the server say what is wrong with a form."""
    page.evaluate("for (const form of document.forms) form.noValidate = true")


def release(number, required, optional=()):
    """Publish another version of the demo's Ticket Insights, which looks like those before it."""
    app, dev = App.objects.get(slug="ticket-insights"), user("dev@example.com")
    fields = factories.version_fields(
        number, name="Ticket Insights", tagline="See what your service desk is busy with", category="reporting",
        description="Charts of **open tickets**, by age and priority.", release_notes="Creates follow-up tickets.",
        required_scopes=required, optional_scopes=optional,
    )  # fmt: skip
    draft = publishing.create_version(
        app, by=dev, icon=pictures.icon(app.slug), screenshots=pictures.screenshots(app.slug), **fields
    )
    approved = publishing.approve_version(publishing.submit_version(draft, by=dev), by=user("reviewer@example.com"))
    return publishing.publish_version(approved, by=dev)


def asking(client, **more):
    query = {"response_type": "code", "client_id": client.client_id, "redirect_uri": client.redirect_uris.split()[0],
             "code_challenge": "A" * 43, "code_challenge_method": "S256", "state": "s", **more}  # fmt: skip
    return f"/oauth/authorize?{urlencode(query)}"


def test_signing_up_and_in(walk, demo, settings, tmp_path):
    settings.EMAIL_BACKEND, settings.EMAIL_FILE_PATH = "django.core.mail.backends.filebased.EmailBackend", tmp_path
    page = walk.stranger()
    page.goto("/")
    walk.look(page, "Welcome", "on your terms")
    page.goto("/accounts/signup/")
    walk.look(page, "Sign up", "You get your own team")
    page.fill("[name=name]", "Nia New")
    page.fill("[name=email]", "nia@example.com")
    page.fill("[name=password1]", "short")
    page.click("main button[type=submit]")
    walk.look(page, "Sign up with errors", "too short")
    page.fill("[name=password1]", "a long enough password")
    page.click("main button[type=submit]")
    walk.look(page, "Confirm your address", "An email with a link is on its way")
    outbox()
    page.goto("/dev/mail/")
    walk.look(page, "The demo's emails", "nia@example.com")
    page.click("main .list-group a")
    walk.look(page, "The email", "As plain text")
    page.goto(re.search(r"/accounts/confirm-email/[^/\s\"<]+/", page.content())[0])
    walk.look(page, "The link in it", "Confirm that nia@example.com")
    page.get_by_role("button", name="Confirm and sign in").click()
    walk.look(page, "First home", "Hello, Nia New")
    page.click(".menu-narrow > summary" if walk.is_narrow else ".menu-person > summary")
    walk.look(page, "Menu", "Hello, Nia New")
    other = walk.stranger()
    other.goto("/accounts/login/")
    walk.look(other, "Sign in", "New here?")
    other.fill("[name=login]", "nia@example.com")
    other.fill("[name=password]", "wrong")
    other.click("main button[type=submit]")
    walk.look(other, "Sign in with errors", "not correct")
    other.get_by_role("link", name="Forgot your password?").click()
    walk.look(other, "Forgot your password", "Enter your email address")


def test_a_developer_creates_and_submits(walk, demo):
    dev = walk.person("dev@example.com")
    page = dev.page
    dev.open("/")
    walk.look(dev, "Home", "What needs you now")
    dev.open("/credentials/")
    walk.look(dev, "Credentials", "Ticket Insights")
    dev.press("Create OAuth Credentials")
    walk.look(dev, "New credentials", "Choose what the app needs now")
    unchecked(page)
    dev.press("Create Credentials")
    walk.look(dev, "New credentials with errors", "This field is required")
    page.fill("[name=name]", "Asset Mirror")
    page.fill("[name=redirect_uris]", "https://mirror.example/callback\nhttp://localhost/callback")
    page.check("[name=kind][value=platform]")
    page.check("[name=level][value=account]")
    page.fill("#scope-search", "tickets")
    for scope in (VIEW, EDIT, DELETE):
        page.check(f"input[value='{scope}']")
    page.fill(f"[name='why:{DELETE}']", "Mirrors what is deleted elsewhere.")
    walk.look(dev, "New credentials filled in", "Choose what the app needs now")
    dev.press("Create Credentials")
    walk.look(dev, "The secret", "shown only once")
    dev.press("I have copied it")
    walk.look(dev, "The credentials", "These are locked")
    dev.press("Try it")
    walk.look(dev, "Try the credentials", "Try")
    dev.page.go_back()
    page.fill("#scope-search", "create tickets")
    page.check(f"input[value='{CREATE}']")
    dev.press("Add scopes")
    walk.look(dev, "Add scopes", "to Asset Mirror?")
    dev.press("Not now")
    page.fill("[name=overlap_hours]", "0")
    dev.press("Rotate secret")
    walk.look(dev, "Rotate the secret at once", "Rotate the secret of Asset Mirror now?")
    dev.press("Keep it")
    page.get_by_role("link", name="Log:").click()
    walk.look(dev, "Log", "Asset Mirror")
    dev.open("/apps/")
    walk.look(dev, "Apps", "Ticket Insights")
    dev.press("Create an app")
    walk.look(dev, "New app", "Create an app")
    page.locator("[name=name]").press_sequentially("Asset Mirror")
    page.select_option("[name=client]", label="Asset Mirror")
    dev.press("Create app")
    walk.look(dev, "The app", "No versions yet")
    dev.press("Add a version")
    for name, value in {"number": "1.0", "name": "Asset Mirror", "tagline": "Keeps your assets in two places",
                        "description": "Copies **assets** as they change.", "release_notes": "The first release."}.items():  # fmt: skip
        page.fill(f"[name={name}]", value)
    page.select_option("[name=category]", "productivity")
    icon, [shot, *_more] = pictures.icon("shift-planner"), pictures.screenshots("ticket-insights")
    page.set_input_files("[name=upload]", {"name": "icon.png", "mimeType": "image/png", "buffer": icon})
    page.set_input_files("[name=shot_0]", {"name": "shot.png", "mimeType": "image/png", "buffer": shot["data"]})
    page.fill("[name=text_0]", "Assets by place")
    walk.look(dev, "New version", "Choose which of the credentials")
    dev.press("Save draft")
    walk.look(dev, "The draft", "Saved")
    version = page.url
    page.get_by_role("link", name="Upload a package").click()
    walk.look(dev, "App package", "Upload a package")
    good = packages.good(Client.objects.get(name="Asset Mirror"))
    for step, files, text in (
        ("A package with errors", {**good, "manifest.json": {}}, "Nothing was changed, because"),
        ("A good package", good, "Package contents"),
    ):
        zipped = {"name": "app.zip", "mimeType": "application/zip", "buffer": packages.as_zip(files)}
        page.set_input_files("[name=package]", zipped)
        dev.press("Check and use package")
        walk.look(dev, step, text)
    dev.press("Edit it in a form")
    walk.look(dev, "The package as a form", "Check and save")
    dev.open(version)
    dev.press("Submit for review")
    walk.look(dev, "Submit for review", "for review?")
    dev.press("Submit")
    walk.look(dev, "In review", "A reviewer reads this version")
    dev.open("/apps/ticket-insights/")
    walk.look(dev, "An app with versions", "Published")
    published = Version.objects.filter(app__slug="ticket-insights").latest("published_at")
    dev.open(f"/apps/ticket-insights/versions/{published.pk}/")
    walk.look(dev, "A published version", "Withdraw")
    dev.open(f"/apps/ticket-insights/versions/{published.pk}/changes/")
    walk.look(dev, "Who has it", "Ticket Insights")


def test_a_reviewer_decides(walk, demo):
    rita = walk.person("reviewer@example.com")
    rita.open("/")
    walk.look(rita, "Home", "What needs you now")
    rita.open("/admin/marketplace/version/")
    walk.look(rita, "Queue", "Shift Planner")
    rita.page.get_by_role("link", name="Shift Planner").first.click()
    walk.look(rita, "Review", "The listing, as customers see it")
    review = rita.page.url
    rita.press("Reject")
    rita.press("The listing is unclear")
    walk.look(rita, "Reject with a reason", "Start from one of these texts")
    rita.open(review)
    rita.press("Approve")
    walk.look(rita, "Approve", "Approve")
    rita.press("Approve")
    walk.look(rita, "Approved", "No other version waits for your decision")
    dev = walk.person("dev@example.com")
    dev.open("/")
    walk.look(dev, "The developer's home", "Shift Planner")
    version = Version.objects.get(app__slug="shift-planner")
    dev.open(f"/apps/shift-planner/versions/{version.pk}/")
    walk.look(dev, "The approved version", "Approved")
    dev.press("Publish")
    walk.look(dev, "Publish", "Every account can find and install it")
    dev.press("Publish")
    walk.look(dev, "Published", "Published.")
    page = walk.stranger()
    page.goto("/marketplace/shift-planner/")
    walk.look(page, "Listing for strangers", "Release history")


def test_an_admin_installs_updates_and_uninstalls(walk, demo):
    ada = walk.person("admin@acme.example")
    page = ada.page
    ada.open("/")
    walk.look(ada, "Home", "What needs you now")
    ada.open("/marketplace/")
    walk.look(ada, "Marketplace", "Ticket Insights")
    page.get_by_role("link", name="Ticket Insights").click()
    walk.look(ada, "Listing", "Release history")
    ada.press("Install")
    walk.look(ada, "Install", "Choose an account")
    ada.press("Install in Acme")
    walk.look(ada, "Consent", "asks for access to")
    ada.press("Cancel")
    walk.look(ada, "Canceled", "Not finished")
    installation = page.url
    ada.press("Finish installing")
    ada.press("Agree")
    walk.look(ada, "Installed", "Ready")
    ada.press("Permissions")
    walk.look(ada, "Permissions", "Edit tickets")
    page.get_by_role("checkbox").first.check()
    ada.press("Remove")
    walk.look(ada, "Remove a permission", "may stop working without it")
    ada.press("Remove")
    walk.look(ada, "Permission removed", "can no longer use this")
    ada.press("Allow again")
    walk.look(ada, "Allow again", "asks for access to")
    ada.press("Agree")
    ada.sees("Ready")
    release("2.0", [VIEW, EDIT, CREATE], [DELETE])
    ada.open("/")
    walk.look(ada, "Home with a decision", "Ticket Insights")
    ada.open("/installations/")
    walk.look(ada, "Installed apps", "Ticket Insights")
    ada.open("/installations/waiting/")
    walk.look(ada, "Waiting for you", "Ticket Insights")
    ada.press("Read and decide")
    walk.look(ada, "Update", "From version 1.1 to 2.0")
    ada.press("Decline")
    walk.look(ada, "Declined", "declined version 2.0")
    ada.press("Read and decide")
    ada.press("Agree and update")
    walk.look(ada, "Updated", "Updated to 2.0")
    ada.open("/installations/overview/")
    walk.look(ada, "Everything that has access", "Ticket Insights")
    ada.open("/authorizations/ending/")
    walk.look(ada, "Agreements ending soon", "Agreements ending soon")
    ada.open(installation)
    ada.press("Uninstall")
    walk.look(ada, "Uninstall", "Uninstall Ticket Insights from Acme?")
    ada.press("Uninstall")
    walk.look(ada, "Uninstalled", "no longer has access")
    ada.press("View receipt")
    walk.look(ada, "Receipt", "Ledger hash")
    ada.open(installation)
    walk.look(ada, "An uninstalled app", "Uninstalled")


def test_an_admin_connects_an_app_to_vendors(walk, planner, vendors):
    ada = walk.person("admin@acme.example")
    ada.welcome += tuple(vendor.url for vendor in vendors)
    page, checklist = ada.page, f"/installations/{planner.installation.pk}/"
    ada.open(checklist)
    walk.look(ada, "What it connects to", "Example Calendar")
    page.get_by_role("link", name="Fill in").click()
    walk.look(ada, "Settings", "Settings for Insights in Acme")
    page.fill("[name=value-owner]", "acme")
    ada.press("Save")
    ada.press("Agree")
    walk.look(ada, "Consent", "asks for access to")
    ada.press("Agree")
    walk.look(ada, "Agreed", "Now complete the remaining steps")
    for vendor, decision in (("Example Calendar", "Deny"), ("Example Calendar", "Allow"), ("Example Boards", "Allow")):
        page.locator("li", has_text=vendor).get_by_role("link").click()
        if vendor == "Example Calendar":
            page.fill("[name=value-room]", "4")
        if decision == "Allow":
            walk.look(ada, f"Connect to {vendor}", "When you connect")
        ada.press(f"Continue to {vendor}")
        page.get_by_role("button", name=decision).click()
        page.wait_for_url(f"**{checklist}")
        walk.look(ada, f"{vendor}, {decision}", vendor)
    ada.press("Try the app’s requests")
    ada.press("events")
    walk.look(ada, "Requests", "Nothing sent yet")
    page.fill("[name=context]", '{"id": "7"}')
    ada.press("Send")
    walk.look(ada, "Response", "Response: 200")
    Connection.objects.filter(integration="calendar").update(broken_at=dt.datetime.now(dt.UTC), problem="invalid_grant")
    ada.open("/")
    walk.look(ada, "Home with a broken connection", "Example Calendar")
    ada.open(checklist)
    walk.look(ada, "A broken connection", "no longer works")
    page.locator("li", has_text="Example Boards").get_by_role("link", name="Disconnect").click()
    walk.look(ada, "Disconnect", "Disconnect")
    ada.press("Disconnect")
    walk.look(ada, "Disconnected", "is disconnected")


def test_an_agent_authorizes_and_revokes(walk, demo):
    installing.install(
        App.objects.get(slug="reply-helper"), Account.objects.get(slug="acme"), by=user("admin@acme.example")
    )
    axel = walk.person("agent@acme.example")
    axel.open("/")
    walk.look(axel, "Home", "Reply Helper")
    axel.open("/marketplace/reply-helper/")
    walk.look(axel, "Listing", "Release history")
    axel.open("/installations/")
    walk.look(axel, "Installed apps", "Not authorized")
    axel.press("Authorize")
    walk.look(axel, "The app's own page", "It connects through the portal")
    axel.press("Continue to the portal")
    walk.look(axel, "Consent", "asks for access to")
    axel.press("Agree")
    walk.look(axel, "Back in the app", "You agreed")
    axel.open("/authorizations/")
    walk.look(axel, "My access", "Reply Helper")
    axel.press("Revoke")
    walk.look(axel, "Revoke", "Revoke Reply Helper’s access?")
    axel.press("Revoke")
    walk.look(axel, "Revoked", "Reply Helper")
    axel.open("/installations/")
    axel.page.get_by_role("link", name="Reply Helper").first.click()
    walk.look(axel, "The app afterwards", "Reauthorize")


def test_an_external_app_asks(walk, demo):
    runner, companion = (Client.objects.get(name=name) for name in ("Workflow Runner", "Desk Companion"))
    page = walk.stranger()
    page.goto(asking(runner, account="acme"))
    walk.look(page, "Sign in first", "Sign in")
    ada = walk.person("admin@acme.example")
    ada.open(asking(runner, account="acme"))
    walk.look(ada, "Consent", "asks for access to")
    ada.is_sent_to("http://127.0.0.1:9000/", lambda: ada.press("Agree"))
    ada.open(asking(runner, account="acme"))
    walk.look(ada, "Continue", "It asks for nothing new")
    access = Access.objects.get(client=runner)
    ada.open("/installations/")
    walk.look(ada, "Installed apps", "Workflow Runner")
    ada.open(f"/authorizations/{access.pk}/")
    walk.look(ada, "The app's access", "What it may do")
    ada.press("Revoke all access")
    walk.look(ada, "Revoke all access", "Everything that the app holds")
    ada.press("Revoke all access")
    walk.look(ada, "Revoked", "Workflow Runner")
    bea = walk.person("both@example.com")
    bea.open(asking(companion))
    walk.look(bea, "Choose an account", "Which account is")
    bea.open(asking(companion, account="globex"))
    walk.look(bea, "A developer whom nobody checked", "Nobody has checked")
    bea.open(asking(runner, account="globex"))
    walk.look(bea, "Only an admin can agree", "admin")
    bea.open(asking(runner, account="elsewhere"))
    walk.look(bea, "Not one of your accounts", "That account is not one of yours")


def test_activity(walk, demo):
    acme, ada_herself = Account.objects.get(slug="acme"), user("admin@acme.example")
    for slug in ("ticket-insights", "reply-helper"):
        installing.install(App.objects.get(slug=slug), acme, by=ada_herself)
    factories.agree(Client.objects.get(name="Ticket Insights"), acme, ada_herself)
    ada = walk.person("admin@acme.example")
    ada.open("/ledger/")
    walk.look(ada, "Activity", "entries")
    ada.page.fill("[name=q]", "insights")
    ada.press("Search")
    walk.look(ada, "Search", "entries")
    ada.open("/ledger/?q=insights&event=access&who=me")
    walk.look(ada, "Filters", "Clear filters")
    for parts in ada.page.locator("td details > summary").all():
        parts.click()
    walk.look(ada, "One click and its parts", "Clear filters")
    ada.open("/ledger/?q=nothing")
    walk.look(ada, "Nothing found", "No entries match")
    ada.open("/ledger/?since=2026-02-02&until=2026-02-01")
    walk.look(ada, "Dates the wrong way round", "Activity")
    ada.open("/ledger/")
    ada.page.locator("main table a").first.click()
    walk.look(ada, "Receipt", "Ledger hash")


def test_settings_and_people(walk, demo):
    dev, acme = walk.person("dev@example.com"), Account.objects.get(slug="acme")
    team = Team.objects.get(
        memberships__user__email="dev@example.com", memberships__role="owner", verified_at__isnull=False
    )
    for step, path, text in (
        ("Settings", "/settings/", "Profile"),
        ("Emails you get", "/settings/mail/", "Always sent"),
        ("Email addresses", "/accounts/email/", "dev@example.com"),
        ("Password", "/accounts/password/change/", "password"),
        ("Two-factor authentication", "/accounts/2fa/", "uthenticat"),
        ("Switch account or team", "/switch/", "Teams"),
        ("Teams", "/teams/", "Devi"),
        ("Team", f"/teams/{team.public_id}/", "Devi Developer"),
        ("Publisher profile", f"/teams/{team.public_id}/profile/", "This is how customers see your team"),
        ("Invite to the team", f"/teams/{team.public_id}/invite/", "Email"),
    ):
        dev.open(path)
        walk.look(dev, step, text)
    dev.open(f"/teams/{team.public_id}/profile/")
    dev.page.set_input_files("[name=upload]", {"name": "x.png", "mimeType": "image/png", "buffer": b"no picture"})
    dev.press("Save")
    walk.look(dev, "Publisher profile with errors", "Publisher profile")
    ada = walk.person("admin@acme.example")
    ada.open("/members/acme/")
    walk.look(ada, "People of an account", "Axel Agent")
    ada.press("Invite someone")
    walk.look(ada, "Invite", "Email")
    ada.page.fill("[name=email]", "someone.with.a.rather.long.name@subsidiary.of.acme.example")
    ada.press("Invite")
    walk.look(ada, "Invited", "Invited. An email is on its way")
    member = acme.memberships.get(user__email="agent@acme.example")
    for step, act in (("Change a role", "role"), ("Remove somebody", "remove")):
        ada.open(f"/members/acme/{member.pk}/{act}/")
        walk.look(ada, step, "Axel Agent")
    _row, token = factories.invited(acme, "dev@example.com", by=user("admin@acme.example"))
    dev.open(f"/invitations/{token}/")
    walk.look(dev, "An invitation", "Accept")
    dev.press("Accept")
    walk.look(dev, "Accepted", "Installed apps")


def test_staff(walk, demo):
    stan, team = walk.person("staff@example.com"), Team.objects.filter(verified_at=None).first()
    client = credentials.suspend_client(
        Client.objects.get(name="Ticket Insights"), reason="A secret leaked", by=user("reviewer@example.com")
    )
    for step, path, text in (
        ("Home", "/", "What needs you now"),
        ("Administration", "/admin/", "Accounts"),
        ("People", "/admin/accounts/user/", "Ada Admin"),
        ("A person", f"/admin/accounts/user/{user('agent@acme.example').pk}/change/", "agent@acme.example"),
        ("Accounts", "/admin/accounts/account/", "Globex"),
        (
            "Suspend an account",
            f"/admin/accounts/account/{Account.objects.get(slug='acme').pk}/press/suspend/",
            "Reason",
        ),
        ("A team", f"/admin/accounts/team/{team.pk}/change/", "Verif"),
        ("Verify a team", f"/admin/accounts/team/{team.pk}/press/verify/", "Verify"),
    ):
        stan.open(path)
        walk.look(stan, step, text)
    rita = walk.person("reviewer@example.com")
    for step, path, text in (
        ("Credentials", "/admin/credentials/client/", "Ticket Insights"),
        ("Suspended credentials", f"/admin/credentials/client/{client.pk}/change/", "Suspended"),
    ):
        rita.open(path)
        walk.look(rita, step, text)
    dev = walk.person("dev@example.com")
    dev.open("/")
    walk.look(dev, "The developer's home", "Ticket Insights")
    dev.open(f"/credentials/{client.client_id}/")
    walk.look(dev, "The developer's credentials", "Suspended")


def test_what_waits_after_a_year(walk, demo):
    """Agreements that end soon, and one whose admin left."""
    acme, ada_herself, bea = Account.objects.get(slug="acme"), user("admin@acme.example"), user("both@example.com")
    installing.install(App.objects.get(slug="ticket-insights"), acme, by=ada_herself)
    factories.agree(Client.objects.get(name="Ticket Insights"), acme, ada_herself)
    factories.agree(Client.objects.get(name="Workflow Runner"), acme, bea, requested={VIEW})
    memberships.change_role(acme.memberships.get(user=bea), role="agent", by=None)
    advance(dt.timedelta(days=344))
    ada = walk.person("admin@acme.example")
    ada.open("/")
    walk.look(ada, "Home", "Workflow Runner")
    ada.open("/authorizations/ending/")
    walk.look(ada, "Agreements ending soon", "Ticket Insights")
    ada.open("/installations/waiting/")
    walk.look(ada, "Waiting for you", "Workflow Runner")
    ada.page.get_by_role("link", name="Read and confirm").click()
    walk.look(ada, "Confirm", "Confirm")
    access = Access.objects.get(client__name="Ticket Insights", account=acme)
    advance(dt.timedelta(days=30))
    ada.open("/")
    walk.look(ada, "Home a month later", "Ticket Insights")
    ada.open(f"/installations/{access.installation_id}/")
    walk.look(ada, "An agreement that ended", "Reauthorize")


def test_nothing_there_yet(walk, demo):
    dara, stan, ada = (
        walk.person(f"{name}") for name in ("other-dev@example.com", "staff@example.com", "admin@acme.example")
    )
    for who, step, path, text in (
        (dara, "Home of a developer", "/", "Hello"),
        (dara, "Apps", "/apps/", "No apps yet"),
        (dara, "Credentials not found", "/credentials/?q=nothing", "Nothing found"),
        (stan, "Home of somebody without an account", "/", "Hello"),
        (stan, "Credentials without a team", "/credentials/", "You have no team yet"),
        (stan, "Installed apps without an account", "/installations/", "No account yet"),
        (stan, "My access", "/authorizations/", "No authorized apps yet"),
        (stan, "Activity", "/ledger/?event=client.suspended", "No entries match"),
        (stan, "Switch", "/switch/", "Nothing to switch to"),
        (ada, "Home of an admin", "/", "Nothing. What needs a decision"),
        (ada, "Installed apps", "/installations/", "No apps installed"),
        (ada, "Marketplace", "/marketplace/?q=nothing", "No apps found"),
        (ada, "Waiting for you", "/installations/waiting/", "Nothing is waiting for you"),
        (ada, "Agreements ending soon", "/authorizations/ending/", "soon"),
        (ada, "Everything that has access", "/installations/overview/", "access"),
    ):
        who.open(path)
        walk.look(who, step, text)


def test_what_went_wrong(walk, demo, monkeypatch):
    page = walk.stranger()
    page.goto("/nothing/")
    walk.look(page, "404", "Page not found")
    page.goto("/oauth/authorize?client_id=x")
    walk.look(page, "A link that cannot be used", "This link cannot be used")
    page.goto("/accounts/confirm-email/unknown/")
    walk.look(page, "A confirmation that was used", "This link cannot be used")
    page.goto("/invitations/made-up/")
    walk.look(page, "An invitation that does not exist", "invitation")
    for step, problem, text in (
        ("400", SuspiciousOperation, "This request is not valid"),
        ("403", PermissionDenied, "You cannot do this"),
        ("500", ArithmeticError, "Something went wrong"),
    ):

        def breaks(problem=problem):
            raise problem

        monkeypatch.setattr(demo_mail, "_mails", breaks)
        page.goto("/dev/mail/")
        walk.look(page, step, text)
    dev = walk.person("dev@example.com")
    dev.open("/apps/new/")
    dev.page.fill("[name=name]", "Asset Mirror")
    dev.page.fill("[name=slug]", "Not An Address")
    dev.press("Create app")
    walk.look(dev, "422", "lowercase letters")
    version = Version.objects.filter(app__slug="ticket-insights").first()
    dev.open(f"/apps/ticket-insights/versions/{version.pk}/copy/")
    walk.look(dev, "405", "Nothing to show here")
    dev.open("/apps/new/")
    dev.page.evaluate("document.querySelector('[name=once]').value = 'of another day'")
    dev.page.fill("[name=name]", "Asset Mirror")
    dev.press("Create app")
    walk.look(dev, "A form that was open for a day", "This form is out of date")
    dev.context.clear_cookies(name="csrftoken")
    form = "document.body.innerHTML = '<form method=post action=/teams/new/></form>'; document.forms[0].submit()"
    with dev.page.expect_navigation():
        dev.page.evaluate(form)
    walk.look(dev, "A form without a cookie", "Submit the form again")
    acme, ada_herself = Account.objects.get(slug="acme"), user("admin@acme.example")
    runner = Client.objects.get(name="Workflow Runner")
    ada = walk.person("admin@acme.example")
    ada.open(asking(runner, account="acme"))
    ada.page.evaluate("document.querySelector('[name=shown]').value = 'of yesterday'")
    ada.press("Agree")
    walk.look(ada, "Consent that changed meanwhile", "asks for access to")
    agreed = factories.agree(runner, acme, ada_herself, requested={VIEW})
    advance(dt.timedelta(days=400))
    ada.open(f"/consents/{agreed.pk}/renew/")
    walk.look(ada, "The link of an agreement that ended", "Workflow Runner")
