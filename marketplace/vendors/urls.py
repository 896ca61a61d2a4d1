from django.urls import path

from . import api, console, views

urlpatterns = [
    path("oauth/callback/<slug:slug>/<str:integration>", views.vendor_callback, name="vendor-callback"),
    path("installations/<uuid:pk>/settings/", views.installation_settings, name="installation-settings"),
    path("installations/<uuid:pk>/connections/<str:integration>/", views.connection_view, name="connection-view"),
    path(
        "installations/<uuid:pk>/connections/<str:integration>/disconnect/",
        views.connection_disconnect,
        name="connection-disconnect",
    ),
    path("installations/<uuid:pk>/console/", console.installation_console, name="installation-console"),
    path("api/v1/installations/<uuid:pk>/requests/<str:name>", api.run_request, name="api-run-request"),
]
