"""What a view gets when people have to sign in first."""

from django.http import HttpRequest

from portal.foundation.once import Press

from .models import User


class SignedInRequest(HttpRequest):
    user: User
    # Where a form acts once.
    press: Press
