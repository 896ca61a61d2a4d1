"""What members' pages say about consents. The accounts app is below consent and cannot import it."""

from django import template

from portal.accounts.models import Membership

from ..succession import answered_for_by_alone

register = template.Library()


@register.simple_tag
def left_behind(membership: Membership) -> int:
    """Return how many agreements for the account only this person answers for: others are asked once they are no longer an admin."""
    return answered_for_by_alone(membership).count()
