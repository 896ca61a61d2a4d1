"""Numbers that are counted only so far."""

from django import template
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from portal.foundation.pages import MOST_COUNTED

register = template.Library()


@register.filter
def up_to_most(number: int) -> str:
    """Return a number as people read it; beyond MOST_COUNTED, that it is more."""
    if number <= MOST_COUNTED:
        return number_format(number, use_l10n=True, force_grouping=True)
    return _("more than %(number)s") % {"number": number_format(MOST_COUNTED, use_l10n=True, force_grouping=True)}
