"""Icons and screenshots of the demo's apps, drawn rather than stored."""

import io
from collections.abc import Callable

from PIL import Image, ImageDraw, ImageFont

_INK, _QUIET, _LINE, _PAPER, _WHITE = "#1c2333", "#667085", "#e3e7ef", "#f5f6fa", "#ffffff"
# {app: the colours from which its icon fades to which}
_COLOURS = {
    "ticket-insights": ("#5b5bf0", "#2e2aa8"),
    "reply-helper": ("#12a594", "#0b6b60"),
    "shift-planner": ("#f08c3a", "#b8531a"),
    "acme-bridge": ("#e5484d", "#95252b"),
    "team-planner": ("#3b82d6", "#1d4d8c"),
}
# Icons are drawn four times as large as they are kept, for smooth edges.
_ICON, _KEPT = 512, 128
_WIDE, _HIGH = 1280, 960
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri")

Draw = ImageDraw.ImageDraw


def icon(app: str) -> bytes:
    """Return an app's icon as a PNG."""
    start, end = _COLOURS[app]
    fade = Image.linear_gradient("L").resize((_ICON, _ICON))
    picture = Image.composite(Image.new("RGB", fade.size, end), Image.new("RGB", fade.size, start), fade)
    _SIGNS[app](ImageDraw.Draw(picture), start)
    made = io.BytesIO()
    picture.resize((_KEPT, _KEPT), Image.Resampling.LANCZOS).save(made, "PNG")
    return made.getvalue()


def screenshots(app: str) -> list[dict[str, object]]:
    """Return an app's screenshots, each with what it shows."""
    return [{"data": _screen(app, title, draw), "text": text} for title, text, draw in _SCREENS.get(app, [])]


# --- signs ---


def _bars(draw: Draw, colour: str) -> None:
    for place, top in enumerate((290, 200, 120)):
        draw.rounded_rectangle((116 + place * 104, top, 188 + place * 104, 396), 18, fill=_WHITE)


def _bubble(draw: Draw, colour: str) -> None:
    draw.polygon(((170, 330), (170, 420), (270, 340)), fill=_WHITE)
    draw.rounded_rectangle((104, 124, 408, 348), 56, fill=_WHITE)
    for place in range(3):
        draw.ellipse((168 + place * 72, 216, 208 + place * 72, 256), fill=colour)


def _calendar(draw: Draw, colour: str) -> None:
    draw.rounded_rectangle((112, 128, 400, 400), 40, fill=_WHITE)
    draw.rectangle((112, 196, 400, 212), fill=colour)
    for place in range(6):
        left, top = 150 + place % 3 * 80, 240 + place // 3 * 76
        draw.rounded_rectangle((left, top, left + 52, top + 48), 12, fill=colour)


def _bridge(draw: Draw, colour: str) -> None:
    draw.rounded_rectangle((76, 332, 436, 364), 16, fill=_WHITE)
    for left in (148, 332):
        draw.rounded_rectangle((left, 128, left + 32, 412), 14, fill=_WHITE)
        draw.line((left + 16, 150, left - 72, 340), fill=_WHITE, width=14)
        draw.line((left + 16, 150, left + 104, 340), fill=_WHITE, width=14)


def _board(draw: Draw, colour: str) -> None:
    for place, bottom in enumerate((392, 300, 346)):
        draw.rounded_rectangle((108 + place * 104, 120, 192 + place * 104, bottom), 22, fill=_WHITE)


_SIGNS: dict[str, Callable[[Draw, str], None]] = {
    "ticket-insights": _bars,
    "reply-helper": _bubble,
    "shift-planner": _calendar,
    "acme-bridge": _bridge,
    "team-planner": _board,
}

# --- screens ---


def _write(draw: Draw, at: tuple[int, int], text: str, size: int = 26, fill: str = _INK) -> None:
    draw.text(at, text, fill=fill, font=ImageFont.load_default(size))


def _screen(app: str, title: str, content: Callable[[Draw, str], None]) -> bytes:
    """Return a page of an app: its bar on the left, a title, and the content, as a WebP."""
    picture, colour = Image.new("RGB", (_WIDE, _HIGH), _PAPER), _COLOURS[app][0]
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, 96, _HIGH), fill=_COLOURS[app][1])
    for place in range(4):
        draw.rounded_rectangle((30, 40 + place * 84, 66, 76 + place * 84), 10, fill=colour if place else _WHITE)
    _write(draw, (144, 44), title, 44)
    content(draw, colour)
    made = io.BytesIO()
    picture.save(made, "WEBP", quality=82)
    return made.getvalue()


def _card(draw: Draw, left: int, top: int, right: int, bottom: int) -> None:
    draw.rounded_rectangle((left, top, right, bottom), 20, fill=_WHITE, outline=_LINE, width=2)


def _by_age(draw: Draw, colour: str) -> None:
    for place, (number, label) in enumerate(
        (("128", "Open tickets"), ("14", "Older than a week"), ("3 h", "First answer"))
    ):
        _card(draw, 144 + place * 370, 136, 484 + place * 370, 286)
        _write(draw, (174 + place * 370, 160), number, 54)
        _write(draw, (174 + place * 370, 232), label, 26, _QUIET)
    _card(draw, 144, 326, 1224, 900)
    for place, height in enumerate((420, 350, 260, 190, 120, 64)):
        left = 210 + place * 168
        draw.rounded_rectangle((left, 820 - height, left + 100, 820), 12, fill=colour)
        _write(draw, (left, 840), ("1 day", "2 days", "3 days", "5 days", "7 days", "Older")[place], 26, _QUIET)


def _trends(draw: Draw, colour: str) -> None:
    _card(draw, 144, 136, 1224, 900)
    for line in range(5):
        draw.line((200, 240 + line * 130, 1180, 240 + line * 130), fill=_LINE, width=2)
    teams = (("Network", colour, (640, 560, 590, 430, 380)), ("Workplace", "#12a594", (700, 690, 610, 640, 560)))
    for row, (team, line_colour, heights) in enumerate(teams):
        points = [(240 + place * 220, height) for place, height in enumerate(heights)]
        draw.line(points, fill=line_colour, width=8, joint="curve")
        draw.rounded_rectangle((200 + row * 240, 172, 228 + row * 240, 200), 6, fill=line_colour)
        _write(draw, (240 + row * 240, 170), team)
    for place, day in enumerate(_DAYS):
        _write(draw, (216 + place * 220, 800), day, 26, _QUIET)


def _reply(draw: Draw, colour: str) -> None:
    for place, subject in enumerate(("VPN drops every hour", "Shared drive is full", "Monitor flickers")):
        top = 136 + place * 130
        _card(draw, 144, top, 564, top + 110)
        _write(draw, (172, top + 20), subject, 28)
        _write(draw, (172, top + 62), f"{place + 2} hours ago", 24, _QUIET)
    _card(draw, 604, 136, 1224, 900)
    _write(draw, (640, 168), "Suggested reply", 32, colour)
    answer = (
        "Hello Sam,", "", "the VPN renews its session every", "hour. Version 4.2 of the client does",
        "this without a break. You can update", "it from the software portal.", "", "Kind regards",
    )  # fmt: skip
    for place, text in enumerate(answer):
        _write(draw, (640, 236 + place * 50), text, 30)
    draw.rounded_rectangle((640, 790, 860, 860), 16, fill=colour)
    _write(draw, (694, 808), "Use reply", 28, _WHITE)


def _week(rows: tuple[tuple[str, ...], ...]) -> Callable[[Draw, str], None]:
    def draw_week(draw: Draw, colour: str) -> None:
        for place, (day, cards) in enumerate(zip(_DAYS, rows, strict=True)):
            left = 144 + place * 218
            _write(draw, (left + 8, 136), day, 30)
            for row, text in enumerate(cards):
                top = 196 + row * 150
                _card(draw, left, top, left + 202, top + 130)
                draw.rounded_rectangle((left + 20, top + 24, left + 84, top + 34), 5, fill=colour)
                _write(draw, (left + 20, top + 58), text)

    return draw_week


_PLAN = (
    ("VPN update", "Stand-up"), ("New laptops", "Review", "Printer"), ("Stand-up",), ("Shared drive", "Interview"),
    ("Retro", "Release"),
)  # fmt: skip
_SHIFTS = (
    ("Ana 8-16", "Axel 12-20"),
    ("Ana 8-16", "Sam 12-20"),
    ("Axel 8-16", "Sam 12-20"),
    ("Ana 8-16",),
    ("Axel 8-16",),
)
_SCREENS: dict[str, list[tuple[str, str, Callable[[Draw, str], None]]]] = {
    "ticket-insights": [
        ("Open tickets", "A bar chart of open tickets by age, below the number that is open", _by_age),
        ("Trends by team", "A line for each team that shows its open tickets through the week", _trends),
    ],
    "reply-helper": [("My tickets", "A list of tickets beside a suggested reply to the first", _reply)],
    "team-planner": [("This week", "A board with a column for each day of the week", _week(_PLAN))],
    "shift-planner": [("Shifts", "A week of shifts, with who is on duty each day", _week(_SHIFTS))],
}
