"""An app on its way from draft to installation."""

import pytest

from marketplace.actions import installing
from tests import factories
from tests.factories import EDIT
from tests.marketplace.connected import connect_directly, installed_with_vendors, register
from tests.worlds import shared


@shared
def draft(cast):
    return factories.app(cast.dev, factories.client(cast.dev)[0], optional_scopes=[EDIT])


@shared
def published_version(cast, draft):
    return factories.publish(draft, cast.dev)


@shared
def hosted_installation(cast, published_version):
    """An installation of a hosted app, which has no install URL."""
    return installing.install(published_version.app, cast.acme, by=cast.admin)


@shared
def ada(cast, browse):
    return browse(cast.admin)


@shared
def developer_urls(draft):
    base = f"/apps/{draft.app.slug}/"
    reads = [base, f"{base}versions/new/", f"{base}versions/{draft.pk}/", f"{base}versions/{draft.pk}/edit/"]
    posts = [f"{base}versions/{draft.pk}/{step}/" for step in ("submit", "publish", "custom", "test")]
    return reads, posts


@pytest.fixture
def multi_of(cast, vendors):
    """A function that installs an app with three integrations in Acme, given changes to its calendar integration."""
    return lambda **changes: installed_with_vendors(cast, vendors, **changes)


@shared
def installed_planner(cast, vendors):
    """An app with three integrations, installed in Acme; the vendors forget it when they are reset."""
    return installed_with_vendors(cast, vendors)


@pytest.fixture
def multi(installed_planner, vendors):
    register(vendors, installed_planner.app.slug)
    return installed_planner


@pytest.fixture
def vendor_only(cast, vendors):
    """An app that requests no scopes of the company's own products."""
    return installed_with_vendors(cast, vendors, slug="pinboard", client=False)


@pytest.fixture
def calendar(vendors):
    return vendors[0]


@pytest.fixture
def connected_app(multi, cast):
    """An app whose calendar is connected for the account, and its boards for Axel."""
    connect_directly(multi)
    connect_directly(multi, "boards", by=cast.agent)
    return multi


@shared
def agreed_app(installed, cast):
    """An app whose account agreed to all of version 1.0: VIEW, and the optional EDIT."""
    installed.consent = factories.agree(installed.client, cast.acme, cast.admin, chosen={EDIT})
    return installed
