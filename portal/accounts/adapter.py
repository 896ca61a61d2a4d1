from typing import Any
from urllib.parse import urlsplit

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.utils import get_next_redirect_url
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from django.contrib import messages
from django.contrib.auth.hashers import check_password
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _

from portal.accounts.models import DEFAULT_ZONE, Invitation, User
from portal.foundation.encryption import decrypt, encrypt
from portal.foundation.limits.address import address_of
from portal.foundation.limits.rates import TooMany, give_back, spend
from portal.foundation.mail import post
from portal.foundation.models import MailKind
from portal.foundation.text import validate_address
from portal.foundation.zones import zones_to_choose

from .entrance import mailed_link

# static/js/portal.js writes it on the pages of the entrance.
ZONE_COOKIE = "time_zone"


def zone_of_browser(request: HttpRequest) -> str:
    """Return the time zone that the browser says it is in, or "" for one that people cannot choose."""
    zone = request.COOKIES.get(ZONE_COOKIE, "")
    return zone if zone in zones_to_choose() else ""


class AccountAdapter(DefaultAccountAdapter):
    """Signing up and in, beyond what allauth does itself."""

    def save_user(self, request: HttpRequest, user: User, form: Any, commit: bool = True) -> Any:
        user.name = form.cleaned_data.get("name", "")
        user.time_zone = zone_of_browser(request) or user.time_zone
        return super().save_user(request, user, form, commit)

    def login(self, request: HttpRequest, user: User) -> None:
        """Take the time zone from the browser of the first sign-in, before which nobody can have chosen one."""
        zone, first = zone_of_browser(request), user.last_login is None and user.time_zone == DEFAULT_ZONE
        if zone and first:
            User.objects.filter(pk=user.pk, time_zone=DEFAULT_ZONE).update(time_zone=zone)
            user.time_zone = zone
        super().login(request, user)

    def clean_email(self, email: str) -> str:
        validate_address(email)
        return email

    def set_password(self, user: User, password: str) -> None:
        """Change the password only if it has not changed since it was read, so that a reset link works once."""
        before = user.password
        user.set_password(password)
        people = User.objects.filter(pk=user.pk)
        if people.filter(password=before).update(password=user.password):
            return
        user.password = people.values_list("password", flat=True).get()
        # The same password again means that somebody pressed twice.
        if not check_password(password, user.password):
            messages.error(self.request, _("The password was changed a moment ago. Sign in with the new one."))
            raise ImmediateHttpResponse(redirect(self.request.path))

    def get_client_ip(self, request: HttpRequest) -> str:
        return address_of(request.META)

    def is_email_verified(self, request: HttpRequest, email: str) -> bool:
        """Take an invited address as confirmed: the link that this browser opened was mailed to no other."""
        invitation = Invitation.objects.opened_in(request.session)
        if invitation and not invitation.why_over() and invitation.email == email.lower():
            return True
        return super().is_email_verified(request, email)

    def get_signup_redirect_url(self, request: HttpRequest) -> str:
        """Send a person who signed up to accept an invitation to it."""
        return (
            reverse("invitation-accept")
            if "invitation" in request.session
            else super().get_signup_redirect_url(request)
        )

    def get_email_verification_redirect_url(self, email_address: Any) -> str:
        """Return a person who signed up to accept an invitation to it."""
        if "invitation" in self.request.session:
            return reverse("invitation-accept")
        return super().get_email_verification_redirect_url(email_address)

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Count a failure in advance, so that simultaneous guesses are counted too.

        allauth counts by mail address alone, so a stranger could lock its owner out.
        """
        who = address_of(request.META)
        failed = request.sign_in_failed = [  # type: ignore[attr-defined]
            ("sign-in failed by address", who),
            ("sign-in failed by address and person", who, credentials.get("email", "").lower()),
        ]
        spend(("sign-in by address", who), *failed)

    def authenticate(self, request: HttpRequest, **credentials: Any) -> User | None:
        user = super().authenticate(request, **credentials)
        if user:
            give_back(*request.sign_in_failed)  # type: ignore[attr-defined]
        return user

    def validation_error(self, code: str, *args: Any) -> Any:
        if code in ("rate_limited", "too_many_login_attempts"):
            # As everywhere else: 429, with the longest wait.
            raise TooMany(300)
        return super().validation_error(code, *args)

    def is_safe_url(self, url: str) -> bool:
        """Judge a URL without its query: Django refuses URLs longer than 2,048 characters, and a query cannot lead elsewhere."""
        return super().is_safe_url(url.partition("?")[0])

    def post_login(self, request: HttpRequest, user: User, *, redirect_url: str | None, **more: Any) -> HttpResponse:
        """Follow the form that was sent last, not what the session stored for an earlier one."""
        return super().post_login(request, user, redirect_url=get_next_redirect_url(request) or redirect_url, **more)

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Post a mail. allauth builds its links from the request's host, which anybody can choose."""
        links = {
            name: mailed_link(self.request, urlsplit(value).path)
            for name, value in context.items()
            if name.endswith("_url")
        }
        post(MailKind.SECURITY, f"{template_prefix}.txt", to=email, person=context.get("user"), **{**context, **links})

    def send_notification_mail(self, template_prefix: str, user: Any, context: Any = None, email: Any = None) -> None:
        super().send_notification_mail(template_prefix, user, {**(context or {}), "user": user}, email)


class MFAAdapter(DefaultMFAAdapter):
    """Encrypts the secrets of second factors, so that reading the database is not enough to pass them."""

    def encrypt(self, text: str) -> str:
        return encrypt(text)

    def decrypt(self, encrypted_text: str) -> str:
        return decrypt(encrypted_text)
