import zoneinfo

from allauth.account.forms import SignupForm as AllauthSignupForm
from django import forms
from django.utils.translation import gettext_lazy as _

from .models import User


class SignupForm(AllauthSignupForm):
    name = forms.CharField(label=_("Your name"), max_length=80)
    field_order = ["name", "email", "password1", "password2"]

    def save(self, request):
        # Imported late: allauth reads this module while apps are still loading.
        from .actions import create_team

        user = super().save(request)
        if user is not None:
            create_team(by=user)
        return user


class ProfileForm(forms.ModelForm):
    time_zone = forms.ChoiceField(
        label=_("Time zone"), choices=[(name, name) for name in sorted(zoneinfo.available_timezones())]
    )

    class Meta:
        model = User
        fields = ["name", "time_zone"]
