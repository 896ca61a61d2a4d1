"""Look at a page as axe, a keyboard and a screen reader do, at both widths, light and dark."""

from urllib.parse import urlsplit

from axe_playwright_python.base import AXE_SCRIPT
from django.urls import Resolver404, resolve

WIDTHS = {"wide": 1280, "narrow": 390}
# Everything except AAA and experimental rules. The size of targets is off by default.
EVERYTHING = {
    "preload": False,
    "resultTypes": ["violations"],
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "rules": {"target-size": {"enabled": True}},
}
# A theme changes only colours; these rules read them.
COLOURS = {
    "preload": False,
    "resultTypes": ["violations"],
    "runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]},
}
# The markup is the same at both widths; these rules read its layout. Only the page's frame differs,
# which a test's first look checks in full.
LAYOUT = {
    "preload": False,
    "resultTypes": ["violations"],
    "runOnly": {
        "type": "rule",
        "values": [
            "color-contrast",
            "link-in-text-block",
            "target-size",
            "scrollable-region-focusable",
            "css-orientation-lock",
        ],
    },
}
AXE = """async (options) => (await axe.run(options)).violations.map((found) =>
    `${found.id}: ${found.nodes.slice(0, 4).map((node) => node.html.slice(0, 200) + " | " +
        node.any.concat(node.all).map((check) => check.message).join(" ").slice(0, 200)).join("\\n    ")}`)"""
# Most of a scope picker is folded; axe takes long to skip it. Two closed groups are enough.
FOLD = """() => { window.folded = [...document.querySelectorAll("details:not([open]) > :not(summary), "
    + "details.group:not([open]) ~ details.group:not([open]) ~ details.group:not([open])")].map((element) => {
    const place = document.createComment("");
    element.replaceWith(place);
    return [place, element];
}) }"""
UNFOLD = "() => { for (const [place, element] of window.folded.reverse()) place.replaceWith(element); }"
# Elements that look the same with and without focus.
UNSEEN_FOCUS = """() => {
    const outline = (element) => {
        const style = getComputedStyle(element);
        const drawn = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1;
        return [drawn && style.outlineColor + style.outlineWidth, style.boxShadow, style.borderColor].join();
    };
    const was = document.activeElement;
    was.blur();
    const all = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']";
    const unseen = [...document.querySelectorAll(all)]
        .filter((element) => !element.disabled && element.checkVisibility({visibilityProperty: true}))
        .filter((element) => {
            // A list hands the focus on to what stands for it.
            document.activeElement.blur();
            const before = outline(element);
            element.focus({preventScroll: true});
            const same = document.activeElement === element && outline(element) === before;
            element.blur();
            return same;
        });
    was.focus();
    return unseen.map((element) => "unseen focus: " + element.outerHTML.slice(0, 200));
}"""
# An invalid field must say so, and refer to the text that says why.
SILENT_ERRORS = """() => [...document.querySelectorAll(".is-invalid:is(input, select, textarea)")]
    .filter((field) => {
        const told = (field.getAttribute("aria-describedby") ?? field.closest("fieldset")
            ?.getAttribute("aria-describedby") ?? "").split(" ");
        return field.getAttribute("aria-invalid") !== "true" ||
            !told.some((id) => document.getElementById(id)?.matches(".invalid-feedback"));
    })
    .map((field) => "silent error: " + field.outerHTML.slice(0, 200))"""


class Look:
    """Call it with an open page. `seen` are the URL names that it saw, `problems` what it found."""

    def __init__(self):
        self.seen, self.problems = set(), []

    def __call__(self, page):
        problems = []
        # A click returns once the next page has begun to load.
        page.wait_for_load_state()
        page.evaluate(AXE_SCRIPT)
        page.evaluate(FOLD)
        for label, width in WIDTHS.items():
            page.set_viewport_size({"width": width, "height": 900})
            light = EVERYTHING if label == "wide" or not self.seen else LAYOUT
            for theme, options in (("light", light), ("dark", COLOURS)):
                page.emulate_media(color_scheme=theme)
                problems += [f"{page.url} {label} {theme} {found}" for found in page.evaluate(AXE, options)]
            if "/admin/" not in page.url and page.evaluate("document.documentElement.scrollWidth") > width:
                problems.append(f"{page.url} {label} scrolls sideways")
        page.evaluate(UNFOLD)
        page.keyboard.press("Shift")
        problems += [f"{page.url} {found}" for found in page.evaluate(UNSEEN_FOCUS)]
        problems += [f"{page.url} {found}" for found in page.evaluate(SILENT_ERRORS)]
        if page.locator(".is-invalid").count() and not page.locator("[role=alert]").count():
            problems.append(f"{page.url} errors without an alert")
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": WIDTHS["wide"], "height": 900})
        self.problems += problems
        self._note(page.url)

    def _note(self, url):
        try:
            match = resolve(urlsplit(url).path)
        except Resolver404:
            return
        self.seen.add(match.view_name)


def covers(*names):
    """Declare which pages, by URL name, a test looks at; the fixture `look` checks that."""

    def mark(test):
        test.covers = frozenset(names)
        return test

    return mark
