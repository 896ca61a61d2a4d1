"""Django admin shows rows and a few buttons: no delete anywhere, nothing editable."""

import pytest
from django.contrib import admin
from django.contrib.auth.models import AnonymousUser
from django.test import Client as Browser

import portal.urls  # noqa: F401  (which takes some windows away)
from portal.foundation.admin import WindowAdmin
from tests import factories

pytestmark = pytest.mark.django_db
SITE = admin.site._registry


def request_of(rf, user):
    request = rf.get("/admin/")
    request.user = user
    return request


@pytest.mark.parametrize("model", SITE, ids=str)
def test_nothing_is_deleted_or_edited(rf, model):
    sue = factories.person("Sue", is_staff=True, is_superuser=True)
    request, window = request_of(rf, sue), SITE[model]
    assert not window.has_delete_permission(request) and not window.has_change_permission(request)
    assert "delete_selected" not in window.get_actions(request)
    assert not list(window.list_editable) and not window.get_inline_instances(request)


def test_every_admin_page_is_one_of_ours():
    shown = [model for model, window in SITE.items() if not isinstance(window, WindowAdmin)]
    assert {SITE[model].__class__.__name__ for model in shown} <= {"HiddenAdmin"}


def test_every_page_of_the_admin_opens(cast, browse, installed):
    rita = factories.reviewer()
    type(rita).objects.filter(pk=rita.pk).update(is_superuser=True)
    rita.refresh_from_db()
    browser = browse(rita)
    page = browser.get("/admin/").content.decode()
    opened = 0
    for model in SITE:
        base = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        if f'href="{base}"' not in page:
            continue
        assert browser.get(base).status_code == 200, base
        assert browser.get(f"{base}?q=x%00").status_code in (200, 302, 400), base
        row = SITE[model].get_queryset(request_of_browser(rita)).first()
        if row is not None:
            opened += 1
            assert browser.get(f"{base}{row.pk}/change/").status_code == 200, base
            assert browser.post(f"{base}{row.pk}/change/", {"status": "published"}).status_code == 403, base
            assert browser.post(f"{base}{row.pk}/delete/", {"post": "yes"}).status_code == 403, base
    assert opened >= 6


def request_of_browser(user):
    from django.test import RequestFactory

    return request_of(RequestFactory(), user)


def test_people_who_are_not_staff_are_kept_out(rf, cast, browse):
    assert Browser().get("/admin/").status_code == 302
    assert browse(cast.dev).get("/admin/", follow=True).status_code == 403
    assert not admin.site.has_permission(request_of(rf, AnonymousUser()))
