"""The guides of /help/: Markdown files in `guides/`, split into sections to be searched and linked to."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from django.conf import settings
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from portal.foundation.markdown import anchor_of, parse_guide, render_guide

FOLDER = Path(__file__).parent / "guides"
# The order in which the index lists them.
GROUPS = (
    (_("Start"), ("start", "scenarios")),
    (_("Build an app"), ("scopes", "packages", "multi-oauth", "api-keys", "going-live")),
    (_("Call APIs"), ("tokens", "workflows", "errors")),
    (_("Use and run the portal"), ("admins", "agents", "reviewers", "operators")),
)
# Longest part of a section that a search result shows.
_EXCERPT = 220
_MOST_FOUND = 20


class Section(NamedTuple):
    """A heading of a guide with the text below it. The first section has no anchor: it is the guide's beginning."""

    anchor: str
    title: str
    level: int
    text: str


@dataclass(frozen=True)
class Guide:
    slug: str
    text: str

    @cached_property
    def sections(self) -> list[Section]:
        return [*_sections(self.text)]

    @property
    def title(self) -> str:
        return self.sections[0].title

    @property
    def summary(self) -> str:
        """The first paragraph."""
        return self.text.split("\n\n")[1].replace("\n", " ")

    @property
    def url(self) -> str:
        return reverse("guide-view", args=[self.slug])

    @property
    def markdown_url(self) -> str:
        return reverse("guide-markdown", args=[self.slug])

    @cached_property
    def html(self) -> SafeString:
        """The guide without its title, which the page shows itself."""
        return render_guide(self.text.partition("\n")[2], address_of)

    @property
    def contents(self) -> list[Section]:
        return [section for section in self.sections if section.level == 2]

    def address(self, anchor: str) -> str:
        return f"{self.url}#{anchor}" if anchor else self.url


class Found(NamedTuple):
    """A section that a search found."""

    guide: Guide
    section: Section
    excerpt: str

    @property
    def url(self) -> str:
        return self.guide.address(self.section.anchor)


def _sections(text: str) -> Iterator[Section]:
    title, level, lines = "", 0, list[str]()
    tokens = parse_guide(text)
    for token, before in zip(tokens, [None, *tokens], strict=False):
        if before and before.type == "heading_open":
            if title:
                yield _section(title, level, lines)
            title, level, lines = token.content, int(before.tag[1]), []
        elif token.type in ("inline", "fence", "code_block"):
            lines.append(token.content)
    yield _section(title, level, lines)


def _section(title: str, level: int, lines: list[str]) -> Section:
    text = re.sub(r"\]\([^)]*\)|[\[`*]", "", " ".join(lines))
    return Section(anchor_of(title) if level > 1 else "", title.replace("`", ""), level, " ".join(text.split()))


def address_of(target: str) -> str:
    """Return the address of what a guide links to; guides link to each other as files."""
    match = re.fullmatch(r"([\w-]+)\.md(#.*)?", target)
    return reverse("guide-view", args=[match[1]]) + (match[2] or "") if match else target


@lru_cache(maxsize=4)
def _guides(base_url: str) -> dict[str, Guide]:
    slugs = [slug for _title, slugs in GROUPS for slug in slugs]
    # Commands can be copied as they are shown.
    texts = {slug: (FOLDER / f"{slug}.md").read_text().replace("<portal>", base_url) for slug in slugs}
    return {slug: Guide(slug, text) for slug, text in texts.items()}


def guides() -> dict[str, Guide]:
    """Return all guides by their slugs, in order."""
    return _guides(settings.BASE_URL)


def groups() -> list[tuple[str, list[Guide]]]:
    return [(str(title), [guides()[slug] for slug in slugs]) for title, slugs in GROUPS]


def search(query: str) -> list[Found]:
    """Return the sections that have all words of a query, those with them in the title first."""
    words = query.lower().split()
    found = []
    for guide in guides().values() if words else ():
        for section in guide.sections:
            title, text = section.title.lower(), section.text.lower()
            own = title + text
            has_all = all(word in own or word in guide.title.lower() for word in words)
            if has_all and any(word in own for word in words):
                rank = -sum(word in title for word in words), -sum(text.count(word) for word in words)
                found.append((rank, Found(guide, section, _excerpt(section.text, words))))
    return [each for _rank, each in sorted(found, key=lambda pair: pair[0])[:_MOST_FOUND]]


def _excerpt(text: str, words: list[str]) -> str:
    first = min((at for word in words if (at := text.lower().find(word)) >= 0), default=0)
    start = text.rfind(" ", 0, max(first - 60, 0)) + 1
    shown = text[start : start + _EXCERPT]
    return f"{'…' if start else ''}{shown}{'…' if len(text) > start + _EXCERPT else ''}"
