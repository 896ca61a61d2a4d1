"""Publishing an app's later versions, and upgrading to them."""

from credentials import actions as credentials
from marketplace.actions import publishing, upgrading
from tests import factories
from tests.factories import version_fields


def next_draft(app, dev, number="1.1", **fields):
    """Create a version with these `fields`, adding missing scopes to its client first."""
    requested = {*fields.get("required_scopes", []), *fields.get("optional_scopes", [])}
    if app.client and (lacking := requested - app.client.scope_names()):
        credentials.add_scopes(app.client, scopes=dict.fromkeys(lacking, "It grew"), by=dev)
    return publishing.create_version(app, by=dev, **version_fields(number, **fields))


def next_version(app, dev, number="1.1", *, custom=None, **fields):
    """Create and publish a version: for everyone, or without review for the accounts of these slugs."""
    draft = next_draft(app, dev, number, **fields)
    if custom:
        return publishing.publish_custom(draft, accounts=custom, by=dev)
    return factories.publish(draft, dev)


def sealed(browser, url, **data):
    """Return what the page at `url` sends: these values, and the seal of what it shows."""
    return {"shown": browser.get(url).context["shown"], **data}


def upgrade(installation, version, by, chosen=()):
    """Upgrade like the page, with the digest of what is shown."""
    step = upgrading.step_to(installation, version, by=by)
    shown = step.screen.digest() if step.screen else ""
    return upgrading.upgrade(installation, version, by=by, shown=shown, chosen=chosen)


def scopes_now(side, account):
    """Return the scopes that the app gets by client credentials."""
    return side.token(grant_type="client_credentials", account=account.slug).json()["scope"].split()
