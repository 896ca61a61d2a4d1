"""The ledger's events about apps, versions, installations and connections."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _

from portal.ledger.events import Group, LedgerEvent, register


@register(
    app=Group.VERSIONS,
    vendor_secret=Group.VERSIONS,
    version=Group.VERSIONS,
    installation=Group.INSTALLING,
    connection=Group.CONNECTIONS,
)
class Event(LedgerEvent):
    APP_ACCOUNTS_LISTED = "app.accounts_listed", _("App made available to accounts")
    APP_ACCOUNT_UNLISTED = "app.account_unlisted", _("Account no longer listed for app")
    APP_CREATED = "app.created", _("App created")
    APP_CLIENT_SET = "app.client_set", _("App’s OAuth credentials set")
    VENDOR_SECRET_KEPT = "vendor_secret.kept", _("Vendor secret stored")
    VERSION_APPROVED = "version.approved", _("Version approved")
    VERSION_CREATED = "version.created", _("Version created")
    VERSION_PICTURE_TAKEN_DOWN = "version.picture_taken_down", _("Picture of a version taken down")
    VERSION_PUBLISHED = "version.published", _("Version published")
    VERSION_REJECTED = "version.rejected", _("Version rejected")
    VERSION_SUBMITTED = "version.submitted", _("Version submitted")
    VERSION_TAKEN_BACK = "version.taken_back", _("Version submission canceled")
    VERSION_WITHDRAWN = "version.withdrawn", _("Version withdrawn")
    INSTALLATION_DISCARDED = "installation.discarded", _("Unfinished installation discarded")
    INSTALLATION_INSTALLED = "installation.installed", _("Installation started")
    INSTALLATION_SETTINGS_CHANGED = "installation.settings_changed", _("App’s settings changed")
    INSTALLATION_UNINSTALLED = "installation.uninstalled", _("App uninstalled")
    INSTALLATION_UPGRADE_DECLINED = "installation.upgrade_declined", _("New version declined")
    INSTALLATION_UPGRADED = "installation.upgraded", _("App updated")
    INSTALLATION_UPGRADES_ITSELF_CHANGED = (
        "installation.upgrades_itself_changed",
        _("Automatic updates turned on or off"),
    )
    CONNECTION_BROKEN = "connection.broken", _("Reconnection needed")
    CONNECTION_CONNECTED = "connection.connected", _("Connected to a vendor")
    CONNECTION_DISCONNECTED = "connection.disconnected", _("Disconnected from a vendor")
    CONNECTION_RENEWED = "connection.renewed", _("Reconnected to a vendor")

    def title_for(self, details: Mapping[str, Any]) -> str:
        if self == Event.INSTALLATION_UPGRADES_ITSELF_CHANGED:
            on = details.get("upgrades_itself")
            return str(_("Automatic updates turned on") if on else _("Automatic updates turned off"))
        return f"{self.label}: {details['vendor']}" if "vendor" in details else str(self.label)
