from django.urls import path

from . import catalogue, views

urlpatterns = [
    path("scopes/", catalogue.scope_list, name="scope-list"),
    path("credentials/", views.client_list, name="client-list"),
    path("credentials/new/", views.client_create, name="client-create"),
    path("credentials/<slug:client_id>/", views.client_view, name="client-view"),
    path("credentials/<slug:client_id>/scopes/", views.client_add_scopes, name="client-add-scopes"),
    path("credentials/<slug:client_id>/secrets/", views.client_rotate, name="client-secrets"),
    path(
        "credentials/<slug:client_id>/secrets/<int:secret_id>/end/", views.client_end_secret, name="client-end-secret"
    ),
]
