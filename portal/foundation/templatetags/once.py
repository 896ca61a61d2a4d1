from typing import Any

from django import template
from django.urls import reverse
from django.utils.html import format_html

from portal.foundation.once import new_token

register = template.Library()


@register.simple_tag(takes_context=True)
def once(context: Any, name: str = "", *args: Any) -> str:
    """The hidden field of a form that acts once: `name` and what follows say where it is sent, as for {% url %}."""
    request = context["request"]
    if not request.user.is_authenticated:
        return ""
    path = reverse(name, args=args) if name else request.path
    return format_html('<input type="hidden" name="once" value="{}">', new_token(request, path))
