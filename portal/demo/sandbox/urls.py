from django.urls import path

from . import views

urlpatterns = [
    path(".well-known/oauth-protected-resource/sandbox/api/v2", views.metadata, name="sandbox-metadata"),
    path("sandbox/api/v2/tickets", views.tickets, name="sandbox-tickets"),
    path("sandbox/api/v2/tickets/<int:ticket_id>", views.ticket, name="sandbox-ticket"),
    path("credentials/<slug:client_id>/test/tickets/", views.reset, name="sandbox-reset"),
]
