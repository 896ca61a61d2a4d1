"""What the portal knows that a package is checked against: credentials, scopes, published routes."""

import re
from functools import cached_property

from django.conf import settings

from credentials import registry
from credentials.models import Client, Product, Scope

from ..models import App


class Facts:
    """With an app, its team's credentials count; without one (the command line), who owns them is not asked."""

    def __init__(self, app: App | None = None) -> None:
        self.app = app
        self._clients: dict[str, Client | None] = {}

    def client(self, client_id: str) -> Client | None:
        if client_id not in self._clients:
            rows = Client.objects.filter(client_id=client_id).select_related("app", "team")
            self._clients[client_id] = rows.first()
        return self._clients[client_id]

    def is_foreign(self, client: Client) -> bool:
        """True for credentials of another team or of another app (C4)."""
        if self.app is None:
            return False
        if self.app.client_id:
            return self.app.client_id != client.pk
        return client.team_id != self.app.team_id or hasattr(client, "app")

    @cached_property
    def scopes(self) -> set[str]:
        return set(Scope.objects.values_list("name", flat=True))

    @cached_property
    def _products(self) -> list[Product]:
        return list(Product.objects.all())

    def routes(self, method: str, path: str) -> list[list[str]]:
        """For each product that publishes this route, the scopes of which a call needs one; none: not open to apps."""
        found = (registry.resolve(product, method, path) for product in self._products)
        return [endpoint.scopes for endpoint in found if endpoint]

    @property
    def allows_loopback(self) -> bool:
        return settings.EGRESS_ALLOW_LOOPBACK

    def is_portal(self, url: str) -> bool:
        return re.match(re.escape(settings.BASE_URL) + r"(?:[/?#]|$)", url) is not None
