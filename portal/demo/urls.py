from django.urls import include, path

from . import demo_app, mail

urlpatterns = [
    path("", include("portal.demo.sandbox.urls")),
    path("sandbox/app/install", demo_app.install, name="demo-app-install"),
    path("sandbox/app/callback", demo_app.callback, name="demo-app-callback"),
    path("dev/mail/", mail.mail_list, name="mail-list"),
    path("dev/mail/<str:name>/", mail.mail_view, name="mail-view"),
]
