"""What the portal knows and checks a package against: credentials, scopes, published routes."""

import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property

from django.conf import settings

from credentials import registry
from credentials.models import Client, ClientScope, Endpoint, Scope

from ..models import App, VendorSecret


class Facts:
    """With an app, credentials must be its team's; without one (on the command line), their owner is not checked.

    `keeps_secrets` says that the portal moves vendors' secrets out of the package.
    """

    def __init__(self, app: App | None = None, *, keeps_secrets: bool = False) -> None:
        self.app, self.keeps_secrets = app, keeps_secrets
        # By the primary key of the credentials.
        self.held: dict[int, set[str]] = defaultdict(set)

    def clients(self, client_ids: Iterable[str]) -> dict[str, Client]:
        """Return the credentials with these ids, and note the names of their scopes in `held`."""
        found = {
            client.client_id: client for client in Client.objects.filter(client_id__in=client_ids).select_related("app")
        }
        for pk, name in ClientScope.objects.filter(client__in=found.values()).values_list("client", "scope__name"):
            self.held[pk].add(name)
        return found

    def is_foreign(self, client: Client) -> bool:
        """Return True for credentials of another team or app (C4)."""
        if self.app is None:
            return False
        if self.app.client_id:
            return self.app.client_id != client.pk
        return client.team_id != self.app.team_id or hasattr(client, "app")

    @cached_property
    def kept_secrets(self) -> set[str]:
        """Return the integrations whose client secret the portal stores for this app."""
        # Credentials without an app are checked for one that is not saved.
        rows = self.app.vendor_secrets.all() if self.app and self.app.pk else VendorSecret.objects.none()
        return set(rows.values_list("integration", flat=True))

    @cached_property
    def scopes(self) -> dict[str, None]:
        """Return the names of all scopes, in order."""
        return dict.fromkeys(Scope.objects.order_by("name").values_list("name", flat=True))

    @cached_property
    def _endpoints(self) -> dict[tuple[int, str], list[Endpoint]]:
        found = defaultdict(list)
        for endpoint in Endpoint.objects.all():
            found[endpoint.product_id, endpoint.method].append(endpoint)
        return found

    def routes(self, method: str, path: str) -> list[list[str]]:
        """Return for each product that publishes this route the scopes of which a call needs one; empty if not open to apps."""
        methods = registry.methods_of(method)
        products = dict.fromkeys(product for product, its in self._endpoints if its in methods)
        candidates = (
            [row for its in methods for row in self._endpoints.get((product, its), ())] for product in products
        )
        found = (registry.match(rows, path) for rows in candidates)
        return [endpoint.scopes for endpoint in found if endpoint]

    @property
    def allows_loopback(self) -> bool:
        return settings.EGRESS_ALLOW_LOOPBACK

    def is_portal(self, url: str) -> bool:
        return re.match(re.escape(settings.BASE_URL) + r"(?:[/?#]|$)", url) is not None
