from django.urls import include, path, re_path

from . import views

urlpatterns = [
    path("accounts/password/reset/", views.PasswordResetView.as_view(), name="account_reset_password"),
    path(
        "accounts/",
        include(
            [
                re_path(
                    r"^confirm-email/(?P<key>[-:\w]+)/$", views.ConfirmEmailView.as_view(), name="account_confirm_email"
                )
            ]
        ),
    ),
    path("switch/", views.switch, name="switch"),
    path("settings/mail/", views.mail_settings, name="mail-settings"),
    path("members/<slug:slug>/", views.member_list, name="member-list"),
    path("members/<slug:slug>/invite/", views.member_invite, name="member-invite"),
    path("members/<slug:slug>/<uuid:pk>/role/", views.member_role, name="member-role"),
    path("members/<slug:slug>/<uuid:pk>/remove/", views.member_remove, name="member-remove"),
    path("teams/", views.team_list, name="team-list"),
    path("teams/<uuid:public_id>/", views.team_view, name="team-view"),
    path("teams/<uuid:public_id>/profile/", views.team_profile, name="team-profile"),
    path("teams/<uuid:public_id>/verification/", views.team_verification, name="team-verification"),
    path("teams/<uuid:public_id>/logo/", views.team_logo, name="team-logo"),
    path("teams/<uuid:public_id>/invite/", views.team_invite, name="team-invite"),
    path("teams/<uuid:public_id>/<int:pk>/role/", views.teammate_role, name="teammate-role"),
    path("teams/<uuid:public_id>/<int:pk>/remove/", views.teammate_remove, name="teammate-remove"),
    path("invitations/", views.invitation_accept, name="invitation-accept"),
    path("invitations/<uuid:pk>/resend/", views.invitation_resend, name="invitation-resend"),
    path("invitations/<uuid:pk>/revoke/", views.invitation_revoke, name="invitation-revoke"),
    path("invitations/<str:token>/", views.invitation_open, name="invitation-open"),
]
