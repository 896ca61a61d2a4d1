from django.urls import include, path

from . import app, components, mail

urlpatterns = [
    path("", include("portal.demo.sandbox.urls")),
    path("sandbox/app/install", app.install, name="demo-app-install"),
    path("sandbox/app/callback", app.callback, name="demo-app-callback"),
    path("dev/components/", components.component_list, name="component-list"),
    path("dev/mail/", mail.mail_list, name="mail-list"),
    path("dev/mail/<str:name>/", mail.mail_view, name="mail-view"),
    path("dev/mail/<str:name>/html/", mail.mail_html, name="mail-html"),
]
