import functools
import secrets
from typing import Any

from allauth.account import forms as allauth
from allauth.core import context
from django import forms
from django.db import IntegrityError, transaction
from django.forms.utils import flatatt
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy as _

from portal.foundation.models import MailKind
from portal.foundation.pictures import reencode
from portal.foundation.text import validate_address, validate_readable
from portal.foundation.zones import zones_to_choose

from .models import Invitation, Team, User


class SignupForm(allauth.SignupForm):
    name = forms.CharField(label=_("Your name"), max_length=80, validators=[validate_readable])
    field_order = ["name", "email", "password1"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        invitation = Invitation.objects.opened_in(context.request.session)
        # The link was mailed to this address.
        self.invitation = invitation if invitation and not invitation.why_over() else None
        if self.invitation:
            self.fields["email"].initial = self.invitation.email

    def save(self, request: HttpRequest) -> Any:
        # Imported late: allauth reads this module while apps are still loading.
        from .actions.teams import create_team

        with transaction.atomic():
            user = super().save(request)
            if user is not None:
                create_team(by=user)
        return user

    def try_save(self, request: HttpRequest) -> Any:
        if self.account_already_exists:  # type: ignore[has-type]
            self._take_as_long_as_for_a_new_person(request)
        try:
            return super().try_save(request)
        except IntegrityError:
            # Somebody took the address a moment ago, so answer as for any known address.
            self.account_already_exists = True
            return super().try_save(request)

    def _take_as_long_as_for_a_new_person(self, request: HttpRequest) -> None:
        """Create a person and roll back, so that the time of the answer does not tell which addresses are known.

        Only the inner transaction is rolled back. The outer one commits, and so waits for the disk as a real one does.
        """
        email = self.cleaned_data["email"]
        self.cleaned_data["email"], self.account_already_exists = f"{secrets.token_hex(16)}@nobody.invalid", False
        with transaction.atomic(), transaction.atomic():
            self.save(request)
            transaction.set_rollback(True)
        self.cleaned_data["email"], self.account_already_exists = email, True


class LoginForm(allauth.LoginForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["remember"].label = _("Stay signed in")


class LongSelect(forms.Select):
    """A choice of one among hundreds, for each of which Django would render templates."""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        options = format_html_join(
            "",
            '<option value="{}"{}>{}</option>',
            ((key, mark_safe(" selected") if key == value else "", label) for key, label in self.choices),
        )
        return format_html("<select{}>{}</select>", flatatt({**self.attrs, **(attrs or {}), "name": name}), options)


class ProfileForm(forms.ModelForm):
    time_zone = forms.ChoiceField(label=_("Time zone"), choices=zones_to_choose, widget=LongSelect)
    # Kept in the browser (portal/theme.py), since one person's screens differ.
    theme = forms.ChoiceField(
        label=_("Theme"),
        choices=[("system", _("Same as system")), ("light", _("Light")), ("dark", _("Dark"))],
        required=False,
        help_text=_("Applies only in this browser."),
    )

    class Meta:
        model = User
        fields = ["name", "time_zone"]


# What a person reads of each kind of mail that they may turn off.
KINDS_OF_MAIL = {
    MailKind.VERSIONS: _("For admins: a new version needs your decision, or the version in use was withdrawn."),
    MailKind.ENDS: _("For whoever can agree again: 30 days, 7 days and one day before an agreement ends."),
    MailKind.SUCCESSORS: _("For admins: the person who agreed for the account is no longer an admin."),
    MailKind.CONNECTIONS: _("For whoever can connect it again: an app can no longer reach a vendor."),
    MailKind.DECISIONS: _(
        "For developers: a version was submitted, approved or rejected, or its submission was canceled."
    ),
    MailKind.REVIEWS: _(
        "For reviewers: a version was submitted, approved or rejected, or its submission was canceled."
    ),
}


class MailForm(forms.Form):
    """Which kinds of mail one person gets, a checkbox each."""

    def __init__(self, person: User, *args: Any, is_reviewer: bool) -> None:
        super().__init__(*args)
        for kind, about in KINDS_OF_MAIL.items():
            if kind != MailKind.REVIEWS or is_reviewer:
                self.fields[kind.value] = forms.BooleanField(
                    label=kind.label, help_text=about, required=False, initial=kind not in person.unwanted_mail
                )


class InvitationForm(forms.Form):
    email = forms.EmailField(label=_("Email address"), max_length=254, validators=[validate_address])
    role = forms.ChoiceField(label=_("Role"))

    def __init__(self, *args: Any, roles: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["role"].choices = roles  # type: ignore[attr-defined]
        # Default to the role with fewer rights.
        self.fields["role"].initial = roles[-1][0]


class RoleForm(forms.Form):
    """Confirms the role that the page asked about, so that a stale page cannot give another."""

    role = forms.ChoiceField(widget=forms.HiddenInput)

    def __init__(self, *args: Any, roles: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["role"].choices = roles  # type: ignore[attr-defined]


class PublisherForm(forms.ModelForm):
    upload = forms.FileField(
        label=_("Logo"),
        required=False,
        help_text=_("PNG, JPEG or WebP, up to 1 MB. It is cropped to a square. Leave this empty to keep the logo."),
    )
    remove_logo = forms.BooleanField(label=_("Remove the logo"), required=False)

    class Meta:
        model = Team
        fields = ["name", "website", "support_url", "privacy_url"]
        field_classes = {name: functools.partial(forms.URLField, assume_scheme="https") for name in fields[1:]}
        help_texts = {
            "name": _("Customers see it in the marketplace and when they are asked to agree."),
            "website": _("It must start with https://."),
            "support_url": _("Where customers get help with your apps."),
        }

    field_order = ["name", "upload", "remove_logo", "website", "support_url", "privacy_url"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance.logo:
            del self.fields["remove_logo"]

    def clean_upload(self) -> bytes | None:
        upload = self.cleaned_data["upload"]
        return reencode(upload) if upload else None

    def fields_for_action(self) -> dict[str, Any]:
        fields = {name: self.cleaned_data[name] for name in self.Meta.fields}
        if self.cleaned_data["upload"]:
            fields["logo"] = self.cleaned_data["upload"]
        elif self.cleaned_data.get("remove_logo"):
            fields["logo"] = b""
        return fields

    def _post_clean(self) -> None:
        """Skip model validation: the action does it, and the form must not change the team that it shows."""
