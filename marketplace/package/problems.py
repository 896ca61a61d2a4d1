"""What a check of a package found."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

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


@dataclass
class Report:
    """All that was found, and the package as it is kept: its files in the 3.x format, as values."""

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
