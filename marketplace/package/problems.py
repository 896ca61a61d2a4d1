"""The problems that a check finds in a package."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

# The most problems in a report; nobody fixes more before checking again.
MAX_TOLD = 100
Level = Literal["error", "warning"]
ERROR: Level = "error"
WARNING: Level = "warning"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong. `pointer` is a JSON pointer (RFC 6901) into `file`; `line` counts from 1, or is None."""

    level: Level
    file: str
    pointer: str
    line: int | None
    message: str
    fix: str


class Problems:
    """The problems found so far, each once. Beyond what a report lists, problems of a level are only counted."""

    def __init__(self) -> None:
        self.kept: dict[Problem, None] = {}
        self.counts: Counter[Level] = Counter()

    def __iter__(self) -> Iterator[Problem]:
        return iter(self.kept)

    def add(self, problem: Problem) -> None:
        if problem in self.kept:
            return
        self.counts[problem.level] += 1
        if self.counts[problem.level] <= MAX_TOLD:
            self.kept[problem] = None

    def merge(self, others: "Problems") -> None:
        self.kept |= others.kept
        self.counts += others.counts

    def told(self, order: Sequence[str]) -> list[Problem]:
        """Return the problems that a report lists, in the `order` of files; if there are too many, errors before warnings."""
        ranks = {file: number for number, file in enumerate(order)}

        def in_order(each: Problem) -> tuple[Any, ...]:
            return ranks.get(each.file, len(ranks)), each.file, each.line or 0, each.pointer, each.message

        worst_first = sorted(self.kept, key=lambda each: (each.level != ERROR, *in_order(each)))
        told = sorted(worst_first[:MAX_TOLD], key=in_order)
        if (more := self.counts.total() - len(told)) > 0:
            level = ERROR if self.counts[ERROR] > MAX_TOLD else WARNING
            text = ngettext("%(count)d more problem is not listed.", "%(count)d more problems are not listed.", more)
            told.append(Problem(level, "", "", None, text % {"count": more}, _("Fix these, then check again.")))
        return told


@dataclass
class Report:
    """All problems found, and the package as it is stored: its files in the 3.x format, as values."""

    format: str | None = None
    problems: list[Problem] = field(default_factory=list)
    files: dict[str, Any] = field(default_factory=dict)
    # What converting a 2.x package changed, a sentence each.
    changes: list[str] = field(default_factory=list)

    @property
    def valid(self) -> bool:
        return not any(problem.level == ERROR for problem in self.problems)

    def as_dict(self) -> dict[str, Any]:
        problems = [asdict(problem) for problem in self.problems]
        return {"valid": self.valid, "format": self.format, "problems": problems}
