"""Links to signing in, up and out that lead back to where a person was."""

from allauth.core import context
from django import template
from django.urls import reverse

from ..entrance import next_page as _next_page
from ..entrance import with_next

register = template.Library()


@register.simple_tag
def next_page() -> str:
    """Return the address that somebody is on the way to, or an empty string; a field's help text has no request of its own."""
    return _next_page(context.request)


@register.simple_tag
def entrance_url(name: str) -> str:
    """Return the address of a page of allauth, with `next` where somebody is on the way to something."""
    return with_next(reverse(name), next_page())
