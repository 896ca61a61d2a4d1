"""Pictures of a walk, under var/screenshots/, and the page that shows them all: index.html."""

from html import escape
from urllib.parse import quote

from django.conf import settings
from django.utils.text import slugify

from .looking import WIDTHS

FOLDER = settings.VAR / "screenshots"
THEMES = ("light", "dark")
# How each journey is walked.
WAYS = [f"{width}-{theme}" for width in WIDTHS for theme in THEMES]
_PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>Screenshots</title>
<style>
  body { margin: 1.5rem; font: 15px/1.4 system-ui, sans-serif; background: #eceef3; color: #161a26 }
  table { border-collapse: separate; border-spacing: 12px }
  th { text-align: left; vertical-align: top; max-width: 14rem }
  thead th { position: sticky; top: 0; background: #eceef3; padding: 8px 0 }
  tbody th[scope=rowgroup] { font-size: 1.4em; padding-top: 1.5rem }
  td { vertical-align: top }
  img { display: block; border: 1px solid #c6cbd8; max-height: 420px; max-width: 300px }
</style>
<h1>Screenshots</h1>
<table>
<thead><tr><th>Step</th>%s</tr></thead>
%s
</table>
</html>
"""


class Album:
    """The pictures that one journey takes in one way; earlier ones make room."""

    def __init__(self, journey, way):
        self.folder, self.way, self.taken = FOLDER / slugify(journey), way, 0
        self.folder.mkdir(parents=True, exist_ok=True)
        for old in self.folder.glob(f"*.{way}.png"):
            old.unlink()

    def place(self, step):
        """Return where the picture of the next step belongs."""
        self.taken += 1
        return self.folder / f"{self.taken:02}-{slugify(step)}.{self.way}.png"


def write_index():
    """Write the page: a group of rows for each journey, a row for each step, a column for each way."""
    heads = "".join(f"<th>{way}, {WIDTHS[way.partition('-')[0]]} pixels</th>" for way in WAYS)
    groups = (_group(folder) for folder in sorted(FOLDER.iterdir()) if folder.is_dir())
    (FOLDER / "index.html").write_text(_PAGE % (heads, "\n".join(groups)))


def _group(folder):
    steps = sorted({path.name.partition(".")[0] for path in folder.glob("*.png")})
    rows = "\n".join(_row(folder, step) for step in steps)
    title = escape(folder.name.replace("-", " ").capitalize())
    return f'<tbody><tr><th scope="rowgroup" colspan="{len(WAYS) + 1}">{title}</th></tr>\n{rows}</tbody>'


def _row(folder, step):
    cells = "".join(f"<td>{_picture(folder, step, way)}</td>" for way in WAYS)
    return f"<tr><th>{escape(step.replace('-', ' '))}</th>{cells}</tr>"


def _picture(folder, step, way):
    path = folder / f"{step}.{way}.png"
    if not path.exists():
        return ""
    address = quote(f"{folder.name}/{path.name}")
    return f'<a href="{address}"><img src="{address}" alt="{escape(step)}, {way}" loading="lazy"></a>'
