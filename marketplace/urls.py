from django.urls import include, path

from .package import api
from .views import developers, installations, market, overview, packages, releasing, upgrading

urlpatterns = [
    path("apps/", developers.app_list, name="app-list"),
    path("apps/new/", developers.app_create, name="app-create"),
    path("apps/<slug:slug>/", developers.app_view, name="app-view"),
    path("apps/<slug:slug>/accounts/", releasing.app_list_accounts, name="app-list-accounts"),
    path("apps/<slug:slug>/accounts/<slug:account>/remove/", releasing.app_unlist_account, name="app-unlist-account"),
    path("apps/<slug:slug>/starter.zip", packages.app_starter, name="app-starter"),
    path("apps/<slug:slug>/versions/new/", developers.version_create, name="version-create"),
    path("apps/<slug:slug>/versions/<int:pk>/", developers.version_view, name="version-view"),
    path("apps/<slug:slug>/versions/<int:pk>/edit/", developers.version_edit, name="version-edit"),
    path("apps/<slug:slug>/versions/<int:pk>/package/", packages.version_package, name="version-package"),
    path(
        "apps/<slug:slug>/versions/<int:pk>/package/edit/", packages.version_package_edit, name="version-package-edit"
    ),
    path(
        "apps/<slug:slug>/versions/<int:pk>/package/preview/",
        packages.version_package_preview,
        name="version-package-preview",
    ),
    path(
        "apps/<slug:slug>/versions/<int:pk>/package/download/",
        packages.version_package_download,
        name="version-package-download",
    ),
    path(
        "apps/<slug:slug>/versions/<int:pk>/package/secrets/<str:integration>/",
        packages.vendor_secret_keep,
        name="vendor-secret-keep",
    ),
    path("apps/<slug:slug>/versions/<int:pk>/submit/", releasing.version_submit, name="version-submit"),
    path("apps/<slug:slug>/versions/<int:pk>/take-back/", releasing.version_take_back, name="version-take-back"),
    path("apps/<slug:slug>/versions/<int:pk>/copy/", releasing.version_copy, name="version-copy"),
    path("apps/<slug:slug>/versions/<int:pk>/publish/", releasing.version_publish, name="version-publish"),
    path("apps/<slug:slug>/versions/<int:pk>/custom/", releasing.version_publish_custom, name="version-publish-custom"),
    path("apps/<slug:slug>/versions/<int:pk>/changes/", developers.version_changes, name="version-changes"),
    path("apps/<slug:slug>/versions/<int:pk>/withdraw/", releasing.version_withdraw, name="version-withdraw"),
    path("apps/<slug:slug>/versions/<int:pk>/test/", releasing.version_test, name="version-test"),
    path("marketplace/", market.listing_list, name="listing-list"),
    path("marketplace/<slug:slug>/", market.listing_view, name="listing-view"),
    path("marketplace/<slug:slug>/install/", market.listing_install, name="listing-install"),
    path("marketplace/<slug:slug>/icon/<int:pk>/", market.icon, name="version-icon"),
    path("marketplace/<slug:slug>/screenshots/<int:pk>/<int:number>/", market.screenshot, name="version-screenshot"),
    path("oauth/callback", installations.oauth_callback, name="oauth-callback"),
    path("installations/", installations.installation_list, name="installation-list"),
    path("installations/waiting/", upgrading.offer_list, name="offer-list"),
    path("installations/overview/", overview.overview, name="overview"),
    path("installations/<uuid:pk>/", installations.installation_view, name="installation-view"),
    path("installations/<uuid:pk>/connect/", installations.installation_connect, name="installation-connect"),
    path("installations/<uuid:pk>/upgrade/", upgrading.installation_upgrade, name="installation-upgrade"),
    path(
        "installations/<uuid:pk>/upgrades-itself/",
        upgrading.installation_upgrades_itself,
        name="installation-upgrades-itself",
    ),
    path("installations/<uuid:pk>/uninstall/", installations.installation_uninstall, name="installation-uninstall"),
    path("installations/<uuid:pk>/discard/", installations.installation_discard, name="installation-discard"),
    path("", include("marketplace.vendors.urls")),
    path("api/v1/packages/check", api.check_package, name="api-check-package"),
]
