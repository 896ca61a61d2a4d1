"""The site map, in story order."""

from allauth.account.decorators import secure_admin_login
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import Group
from django.shortcuts import redirect
from django.templatetags.static import static
from django.urls import include, path
from django.views.decorators.http import require_safe

from . import views

# Windows of other packages through which rows could be changed or removed behind the actions' back.
for model in (EmailAddress, Authenticator, Group):
    admin.site.unregister(model)
admin.site.enable_nav_sidebar = False
admin.site.index_title = "Staff"
# One way to sign in for everybody, two-factor included.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]
admin.site.password_change = require_safe(lambda request, extra_context=None: redirect("account_change_password"))  # type: ignore[assignment, method-assign]

urlpatterns = [
    path("", views.home, name="home"),
    path("needs/<slug:name>/", views.need_list, name="need-list"),
    # Before allauth, whose pages for a forgotten password and a mailed link it replaces.
    path("", include("portal.accounts.urls")),
    path("accounts/", include("allauth.urls")),
    path("settings/", views.settings_page, name="settings"),
    path("teams/new/", views.team_create, name="team-create"),
    path("", include("credentials.urls")),
    path("", include("marketplace.urls")),
    # Before consent, which looks for the metadata of products at any address like the sandbox's.
    path("", include("portal.demo.urls")),
    path("", include("consent.urls")),
    path("", include("portal.ledger.urls")),
    path("", include("portal.help.urls")),
    path("admin/", admin.site.urls),
    path("favicon.ico", login_not_required(require_safe(lambda request: redirect(static("img/icon.svg"))))),
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
]
handler400 = "portal.views.malformed"
handler404 = "portal.views.not_found"
handler500 = "portal.views.server_error"
# allauth looks for it here.
handler429 = "portal.middleware.too_many_requests"
