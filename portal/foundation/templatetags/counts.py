"""Numbers as people read them."""

from django import template
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from portal.foundation.pages import MOST_COUNTED

register = template.Library()


@register.filter
def grouped(number: int) -> str:
    """Return a number with its digits in groups."""
    return number_format(number, use_l10n=True, force_grouping=True)


@register.filter
def up_to_most(number: int) -> str:
    """Return a number with its digits in groups; beyond MOST_COUNTED, that it is more."""
    if number <= MOST_COUNTED:
        return grouped(number)
    return _("more than %(number)s") % {"number": grouped(MOST_COUNTED)}
