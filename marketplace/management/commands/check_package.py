import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from marketplace.models import App
from marketplace.package.checking import check_archive, check_folder
from marketplace.package.facts import Facts
from marketplace.package.problems import Report
from marketplace.package.sarif import as_sarif


class Command(BaseCommand):
    help = (
        "Check an app package, a .zip or a folder, as the page for a new version does. "
        "Exits 0 if valid, 1 if not, 2 if it could not be checked."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("path", type=Path)
        parser.add_argument("--json", action="store_true", help="print the report as JSON")
        parser.add_argument(
            "--sarif", type=Path, metavar="FILE", help="also write the report to a file, as SARIF 2.1.0"
        )
        parser.add_argument("--app", help="the address of the app that it is for, so that its credentials count")

    def handle(self, *args: Any, path: Path, app: str | None, sarif: Path | None, **options: Any) -> None:
        try:
            facts = Facts(self._app(app))
            report = check_folder(path, facts) if path.is_dir() else check_archive(path.read_bytes(), facts)
            if sarif:
                sarif.write_text(json.dumps(as_sarif(report), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise CommandError(f"{error.filename or path}: {error.strerror}", returncode=2) from None
        except DatabaseError as error:
            why = str(error).partition("\n")[0]
            raise CommandError(f"This needs the portal’s database, migrated: {why}", returncode=2) from None
        if options["json"]:
            self.stdout.write(_as_json(report))
        else:
            self._tell(report, path)
        if not report.valid:
            raise SystemExit(1)

    def _app(self, slug: str | None) -> App | None:
        if not slug:
            return None
        app = App.objects.select_related("team").filter(slug=slug).first()
        if app is None:
            raise CommandError(f"There is no app “{slug}”.", returncode=2)
        return app

    def _tell(self, report: Report, path: Path) -> None:
        for problem in report.problems:
            location = ":".join(str(part) for part in (problem.file or path, problem.line) if part)
            pointer = problem.pointer and f" [{problem.pointer}]"
            self.stdout.write(f"{location}: {problem.level}: {problem.message} {problem.fix}{pointer}")
        for change in report.changes:
            self.stdout.write(f"changed: {change}")
        self.stdout.write(f"{'Valid' if report.valid else 'Not valid'}, format {report.format or 'unknown'}.")


def _as_json(report: Report) -> str:
    return json.dumps(report.as_dict(), ensure_ascii=False, indent=2)
