"""The guides, as pages and as Markdown, for everyone."""

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from .guides import Guide, groups, guides, search

# A longer query finds nothing more.
MAX_QUERY = 200


def _guide(slug: str) -> Guide:
    if slug not in guides():
        raise Http404
    return guides()[slug]


@login_not_required
@require_safe
def guide_list(request: HttpRequest) -> HttpResponse:
    query = request.GET.get("q", "").strip()[:MAX_QUERY]
    return render(request, "help/guide_list.html", {"groups": groups(), "query": query, "found": search(query)})


@login_not_required
@require_safe
def guide_view(request: HttpRequest, slug: str) -> HttpResponse:
    return render(request, "help/guide_view.html", {"guide": _guide(slug)})


@login_not_required
@require_safe
def guide_markdown(request: HttpRequest, slug: str) -> HttpResponse:
    return HttpResponse(_guide(slug).text, content_type="text/markdown; charset=utf-8")


@login_not_required
@require_safe
def llms(request: HttpRequest) -> HttpResponse:
    """List the guides for language models, in the form of llmstxt.org."""
    lines = ["# App Management Portal", "", "> OAuth credentials, apps and agreements for a company’s products.", ""]
    for title, listed in groups():
        links = (f"- [{each.title}]({settings.BASE_URL}{each.markdown_url}): {each.summary}" for each in listed)
        lines += [f"## {title}", "", *links, ""]
    return HttpResponse("\n".join(lines), content_type="text/plain; charset=utf-8")
