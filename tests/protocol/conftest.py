import pytest

from credentials.actions import make_product_secret
from credentials.models import Kind
from tests import factories
from tests.oauth import AppSide
from tests.protocol.asking import FORM
from tests.worlds import shared


@shared
def ada(browse, cast):
    return browse(cast.admin)


@shared
def tokens(external, ada, cast):
    return external.tokens_for(ada, account=cast.acme.slug)


@shared
def other(cast, client):
    """Another developer's app."""
    return AppSide(client, *factories.client(cast.other_dev, kind=Kind.EXTERNAL))


@shared
def product_secret(cast):
    return make_product_secret(factories.product(), by=None)


@pytest.fixture
def send(client):
    """A function that posts a body, whatever it is, to an endpoint of the authorization server."""

    def post(endpoint, body, content_type=FORM, **headers):
        return client.generic("POST", f"/oauth/{endpoint}", body, content_type=content_type, **headers)

    return post
