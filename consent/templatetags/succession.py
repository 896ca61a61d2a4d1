"""What the pages of an account’s people say of consents; those who belong to it stand below consents, and know none."""

from django import template

from ..succession import answered_for_by_alone

register = template.Library()


@register.simple_tag
def left_behind(membership):
    """How many agreements for the account nobody else answers for: others are asked once this person is no admin there."""
    return answered_for_by_alone(membership).count()
