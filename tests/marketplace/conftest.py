"""An app on its way from draft to installation."""

import pytest

from marketplace import actions
from tests import factories
from tests.factories import EDIT


@pytest.fixture
def draft(cast):
    return factories.app(cast.dev, factories.client(cast.dev)[0], optional_scopes=[EDIT])


@pytest.fixture
def published(cast, draft):
    return factories.publish(draft, cast.dev)


@pytest.fixture
def hosted(cast, published):
    """An installation whose app the portal hosts: it has no install URL."""
    return actions.install(published.app, cast.acme, by=cast.admin)


@pytest.fixture
def ada(cast, browse):
    return browse(cast.admin)


@pytest.fixture
def developer_urls(draft):
    base = f"/apps/{draft.app.slug}/"
    reads = [base, f"{base}versions/new/", f"{base}versions/{draft.pk}/", f"{base}versions/{draft.pk}/edit/"]
    posts = [f"{base}versions/{draft.pk}/{step}/" for step in ("submit", "publish", "custom", "test")]
    return reads, posts
