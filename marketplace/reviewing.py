"""What a reviewer reads before deciding: what a version changes for each audience, and what its team did before."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from itertools import takewhile
from typing import Any

from django.db.models import Count
from django.utils.translation import gettext as _

from credentials.models import Risk
from credentials.seen import suspensions_of
from portal.accounts.models import Team
from portal.foundation.text import lines
from portal.ledger.reading import with_names

from .differences import Difference
from .models import Audience, Decision, Review, Status, Version
from .package.contents import Contents
from .previews import changed_scopes, published_before

# Earlier decisions, suspensions, versions and developers that a review names.
MAX_NAMED = 20
# Longer texts are shown whole, before and after: comparing them line by line takes too long.
MAX_COMPARED = 500
# Unchanged lines around each change.
AROUND = 3


# --- how risky it is ---


def risks_of(scopes: Iterable[Any]) -> list[tuple[Any, int]]:
    """Return each level of risk among these scopes with how many have it, the highest first."""
    levels = [scope.risk_level for scope in scopes]
    return [(level, levels.count(level)) for level in reversed(list(Risk)) if level in levels]


# --- what it changes ---


def changed_lines(old: str, new: str) -> list[tuple[str, str]]:
    """Compare two texts line by line: ("gone" | "new" | "same" | "skipped", line)."""
    before, after = lines(old).splitlines(), lines(new).splitlines()
    start = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False))))
    rest = zip(reversed(before[start:]), reversed(after[start:]), strict=False)
    end = len(list(takewhile(lambda pair: pair[0] == pair[1], rest)))
    gone, added = before[start : len(before) - end], after[start : len(after) - end]
    if max(len(gone), len(added)) > MAX_COMPARED:
        middle = [("gone", line) for line in gone] + [("new", line) for line in added]
    else:
        middle = []
        for what, from_, to, to_from, to_to in SequenceMatcher(None, gone, added).get_opcodes():
            if what == "equal":
                middle += [("same", line) for line in gone[from_:to]]
            else:
                middle += [("gone", line) for line in gone[from_:to]] + [("new", line) for line in added[to_from:to_to]]
    same = [("same", line) for line in before[:start]], [("same", line) for line in before[len(before) - end :]]
    return list(_without_long_runs([*same[0], *middle, *same[1]]))


def _without_long_runs(compared: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    changes = [number for number, (what, _line) in enumerate(compared) if what != "same"]
    shown = {number + near for number in changes for near in range(-AROUND, AROUND + 1)}
    for number, row in enumerate(compared):
        if number in shown:
            yield row
        elif number == 0 or number - 1 in shown:
            yield "skipped", ""


def _files(version: Version) -> dict[str, str]:
    """Return the files of a version's package as text, without its secrets."""
    return Contents(Contents.of(version).without_secrets()).texts()


@dataclass(frozen=True)
class Comparison:
    """A version beside the one that an audience has now."""

    audience: str
    before: Any
    version: Any

    @cached_property
    def difference(self) -> Difference:
        return Difference(self.before, self.version)

    @property
    def scopes(self) -> list[tuple[str, list[Any]]]:
        return changed_scopes(self.difference)

    @cached_property
    def texts(self) -> list[tuple[object, list[tuple[str, str]]]]:
        """Return each text that changed, files of the package included, with its changed lines."""
        pairs: list[tuple[object, str, str]] = []
        for name in ("name", "tagline", "description", "install_url"):
            title = getattr(Version._meta.get_field(name), "verbose_name")  # noqa: B009
            pairs.append((title, getattr(self.before, name), getattr(self.version, name)))
        pairs.append((_("category"), self.before.get_category_display(), self.version.get_category_display()))
        old, new = _files(self.before), _files(self.version)
        pairs += [(file, old.get(file, ""), new.get(file, "")) for file in dict.fromkeys([*old, *new])]
        pairs = [(title, *(lines(text).strip() for text in texts)) for title, *texts in pairs]  # type: ignore[misc]
        return [(title, changed_lines(before, after)) for title, before, after in pairs if before != after]

    @property
    def has_new_screenshots(self) -> bool:
        return self.before.screenshots != self.version.screenshots

    @property
    def has_new_icon(self) -> bool:
        return bytes(self.before.icon or b"") != bytes(self.version.icon or b"")


def comparisons(version: Version) -> list[Comparison]:
    """Compare a version with what each audience has now: chosen accounts may have one that no reviewer saw (M3)."""
    published = published_before(version).filter(status=Status.PUBLISHED)
    for_all, newest = published.filter(audience=Audience.PUBLIC).first(), published.first()
    found = [Comparison(_("For everyone"), for_all, version)] if for_all else []
    if newest and newest != for_all:
        found.append(Comparison(_("For the accounts that its developer chose"), newest, version))
    for each in found:
        each.before.has_icon = each.before.icon is not None
    return found


def not_compared(version: Version, compared: list[Comparison]) -> dict[str, Any]:
    """Return the other versions that were published before, as text, and how many more there are."""
    others = published_before(version).exclude(pk__in=[each.before.pk for each in compared])
    shown = others.only("app", "number", "audience", "status")[:MAX_NAMED]
    return {
        "other_versions": [
            f"{each.number} ({each.get_audience_display()}, {each.get_status_display()})" for each in shown
        ],
        "more_versions": max(0, others.count() - MAX_NAMED),
    }


# --- what its team did before ---


def record_of(team: Team, version: Version) -> dict[str, Any]:
    """Return a team's earlier decisions, newest first, their number, and the suspensions of its credentials."""
    reviews = Review.objects.filter(version__app__team=team).exclude(version=version)
    counts = dict(reviews.order_by().values_list("decision").annotate(Count("pk")))
    shown = reviews.select_related("version", "reviewer").order_by("-decided_at", "-pk")
    developers = team.memberships.filter(ended_at=None)
    return {
        "team": team,
        "reviews": shown.defer("version__icon", "version__description", "version__package")[:MAX_NAMED],
        "approved": counts.get(Decision.APPROVED, 0),
        "rejected": counts.get(Decision.REJECTED, 0),
        "suspensions": with_names(suspensions_of(team)[:MAX_NAMED]),
        # Owners first, then members, in the order of joining.
        "developers": developers.select_related("user").order_by("-role", "pk")[:MAX_NAMED],
        "more_developers": max(0, developers.count() - MAX_NAMED),
    }
