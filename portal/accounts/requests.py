"""What a view gets when people have to sign in first."""

from django.http import HttpRequest

from .models import User


class SignedInRequest(HttpRequest):
    user: User
