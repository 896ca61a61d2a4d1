"""Times as people read them."""

import datetime as dt

from django import template
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince, timeuntil
from django.utils.timezone import localtime, now
from django.utils.translation import gettext as _

register = template.Library()


def relative(at: dt.datetime) -> str:
    """Return how far away a time is, in its largest unit."""
    if abs(at - now()) < dt.timedelta(minutes=1):
        return _("just now")
    if at < now():
        return _("%(length)s ago") % {"length": timesince(at, depth=1)}
    return _("in %(length)s") % {"length": timeuntil(at, depth=1)}


@register.filter
def exact(at: dt.datetime) -> str:
    """Return a time in the reader's zone, with the zone."""
    local = localtime(at)
    return f"{date_format(local, 'DATETIME_FORMAT')} {local.tzname()}"


@register.filter
def moment(at: dt.datetime | None) -> SafeString | str:
    """Return a time as HTML: relative, with the exact time and its zone on hover and in the accessible name; "" for none."""
    if at is None:
        return ""
    return format_html(
        '<time datetime="{}" title="{}"><span aria-hidden="true">{}</span><span class="visually-hidden">{}</span></time>',
        at.astimezone(dt.UTC).isoformat(timespec="seconds"), exact(at), relative(at), exact(at),
    )  # fmt: skip
