"""The ledger's events about OAuth credentials and products."""

from django.utils.translation import gettext_lazy as _

from portal.ledger.events import Group, LedgerEvent, register


@register(client=Group.CREDENTIALS, product=Group.PRODUCTS, registry=Group.PRODUCTS)
class Event(LedgerEvent):
    CLIENT_CHANGED = "client.changed", _("OAuth credentials changed")
    CLIENT_CREATED = "client.created", _("OAuth credentials created")
    CLIENT_LIFTED = "client.lifted", _("Suspension of OAuth credentials lifted")
    CLIENT_SCOPES_ADDED = "client.scopes_added", _("Scopes added to OAuth credentials")
    CLIENT_SECRET_ENDED = "client.secret_ended", _("Client secret ended")
    CLIENT_SECRET_ROTATED = "client.secret_rotated", _("Client secret rotated")
    CLIENT_TEST_SECRET_MADE = "client.test_secret_made", _("Test secret created")
    CLIENT_SUSPENDED = "client.suspended", _("OAuth credentials suspended")
    PRODUCT_BASE_ADDRESS_SET = "product.base_address_set", _("Product base address set")
    PRODUCT_SECRET_MADE = "product.secret_made", _("Product secret created")
    REGISTRY_IMPORTED = "registry.imported", _("Scopes imported")
