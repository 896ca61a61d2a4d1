"""The time zone of a person's settings is first set from their browser."""

import pytest

from portal.accounts.models import User

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_first_sign_in_sets_the_time_zone_from_the_browser(sit_down):
    ada = sit_down("admin@acme.example", by_form=True, timezone_id="Asia/Tokyo")
    ada.open("/settings/")
    assert ada.page.input_value("[name=time_zone]") == "Asia/Tokyo"
    assert User.objects.get(email="admin@acme.example").time_zone == "Asia/Tokyo"
