"""Turn Markdown into safe HTML: texts of developers, and the portal's own guides."""

import re
from collections.abc import Callable

import nh3
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.token import Token

_markdown = MarkdownIt("commonmark", {"html": False, "linkify": False})
_guides = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable("table")
_SCHEMES = {"http", "https", "mailto"}
_TAGS = {"p", "br", "em", "strong", "ul", "ol", "li", "a", "code", "pre", "blockquote", "h3", "h4", "h5", "h6", "hr"}
_GUIDE_TAGS = {*_TAGS, "h1", "h2", "table", "thead", "tbody", "tr", "th", "td"}
_GUIDE_ATTRIBUTES = {"a": {"href"}, "h2": {"id"}, "h3": {"id"}, "table": {"class"}}
_HEADINGS = {"h1": "h3", "h2": "h4"}


def render(text: str) -> str:
    """Return safe HTML for a developer's Markdown: no scripts, handlers or images, and only http(s) and mailto links."""
    tokens = _markdown.parse(text)
    for token in tokens:
        token.tag = _HEADINGS.get(token.tag, token.tag)
    html = _markdown.renderer.render(tokens, _markdown.options, {})
    clean = nh3.clean(
        html,
        tags=_TAGS,
        attributes={"a": {"href"}},
        url_schemes=_SCHEMES,
        link_rel="nofollow noopener noreferrer",
    )
    return mark_safe(clean)  # noqa: S308 (cleaned a line above)


def anchor_of(title: str) -> str:
    """Return the id of a heading, the same as code hosts give it."""
    return re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-")


def parse_guide(text: str) -> list[Token]:
    return _guides.parse(text)


def render_guide(text: str, address_of: Callable[[str], str]) -> SafeString:
    """Return safe HTML for a guide, whose headings have ids; `address_of` turns the target of each link into an address."""
    tokens = parse_guide(text)
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type == "heading_open" and following:
            token.attrSet("id", anchor_of(following.content))
        if token.type == "table_open":
            token.attrSet("class", "table")
        for child in token.children or ():
            if child.type == "link_open":
                child.attrSet("href", address_of(str(child.attrGet("href"))))
    html = _guides.renderer.render(tokens, _guides.options, {})
    clean = nh3.clean(
        html, tags=_GUIDE_TAGS, attributes=_GUIDE_ATTRIBUTES, url_schemes=_SCHEMES, link_rel="noopener noreferrer"
    )
    return mark_safe(clean)  # noqa: S308 (cleaned a line above)
