"""What pages show of receipts: a link after an act, and a page of an app's receipts."""

from typing import Any

from django.core.paginator import Page
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _

from portal.accounts.models import Membership
from portal.foundation.pages import paginate
from portal.ledger.models import Entry
from portal.ledger.reading import with_names

from .models import Access, Consent
from .seen import receipts_of_app


def receipt_of(*things: Access | Consent) -> Any:
    """Return the newest entry about a consent or an access, written by the act that was just done."""
    return Entry.objects.filter(subject__in=[f"{thing._meta.model_name}:{thing.pk}" for thing in things]).first()


def with_links(said: str, receipt: Entry, *acts: tuple[str, str]) -> str:
    """Return what is said after an act, with links to further acts, each a (label, URL), and to its receipt."""
    links = [*acts, (_("View receipt"), reverse("receipt-view", args=[receipt.pk]))]
    linked = format_html_join(" · ", '<a class="alert-link" href="{1}">{0}</a>', links)
    return format_html("{} {}", said, linked)


def with_receipt(said: str, *things: Access | Consent) -> str:
    """Return what is said after an act on these, with a link to its receipt."""
    return with_links(said, receipt_of(*things))


def receipts_page(
    request: HttpRequest, membership: Membership, *, access: Access | None, others: list[QuerySet[Entry]] | None = None
) -> Page[Any]:
    """Return a page of the receipts of one app in one account that a member sees."""
    entries = receipts_of_app(membership, access, others or [])
    page = paginate(request, entries.order_by("-at", "-sequence"), name="receipts")
    page.object_list = with_names(page.object_list)
    return page
