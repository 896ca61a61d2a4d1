"""Look at a page as axe, a keyboard and a screen reader do, wide in light colours and narrow in dark ones.

What else a width changes is looked at in all four combinations when it is first met. A page that has only kinds of
elements that were looked at before is left to `make soak`, which looks at every page.
"""

import shutil
from collections import Counter
from typing import ClassVar
from urllib.parse import urlsplit

from django.urls import Resolver404, resolve


def chromium_path():
    """The shell is the same browser without its own windows, and half the work."""
    found = map(shutil.which, ("chromium-headless-shell", "chromium", "chromium-browser"))
    path = next(filter(None, found), None)
    assert path, "Chromium is missing: apt-get install chromium-headless-shell"
    return path


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
# The markup is the same at both widths; these rules read its layout. What differs more is CHANGING, which the first
# look at it checks in full.
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
TOO_WIDE = "document.documentElement.scrollWidth > innerWidth"
# Runs axe on the page once it has the theme. Contrast takes longest, so axe measures three of the elements that are
# styled alike all the way up to the root; `enough` names those that it measured on earlier pages. Most of a scope picker
# is folded; axe takes long to skip it. Two closed groups are enough.
AXE = """async ({theme, options, enough}) => {
    // A page hears of another theme some time after the browser has it.
    while (!matchMedia(`(prefers-color-scheme: ${theme})`).matches
            || (document.documentElement.dataset.bsTheme ?? theme) !== theme) {
        await new Promise((resolve) => setTimeout(resolve, 1));
    }
    const folded = [...document.querySelectorAll("details:not([open]) > :not(summary), "
        + "details.group:not([open]) ~ details.group:not([open]) ~ details.group:not([open])")].map((element) => {
        const place = document.createComment("");
        element.replaceWith(place);
        return [place, element];
    });
    const looks = ["color", "background-color", "background-image", "opacity", "font-size", "font-weight", "display",
        "visibility", "position", "z-index", "text-shadow", "filter", "mix-blend-mode"];
    const known = new Map(), times = new Map(enough.map((key) => [key, 3])), measured = [], keys = [];
    const short = (text) => {
        let number = 0;
        for (let at = 0; at < text.length; at++) number = (Math.imul(number, 31) + text.charCodeAt(at)) >>> 0;
        return number;
    };
    const kind = (element) => {
        if (!element) return 0;
        if (known.has(element)) return known.get(element);
        const style = getComputedStyle(element);
        const texts = [...element.childNodes].map((node) => node.nodeType === Node.TEXT_NODE ? node.data : "");
        const own = element.matches("input, select, textarea") ? `${element.value} ${element.placeholder}` : texts.join("");
        const key = short(JSON.stringify([kind(element.parentElement), element.localName, element.getAttribute("class"),
            element.matches(":disabled, [aria-disabled=true]") || element.control?.disabled,
            /[\\p{L}\\p{N}].*[\\p{L}\\p{N}]/su.test(own), ...looks.map((name) => style.getPropertyValue(name))]));
        if (element.getClientRects().length && (times.get(key) ?? 0) < 3) {
            times.set(key, (times.get(key) ?? 0) + 1);
            measured.push(element);
            keys.push(key);
        }
        known.set(element, key);
        return key;
    };
    for (const element of document.querySelectorAll("*")) kind(element);
    for (const element of measured) element.setAttribute("data-measured", "");
    axe.configure({rules: [{id: "color-contrast", selector: "[data-measured]"}]});
    const {violations} = await axe.run(options);
    for (const element of measured) element.removeAttribute("data-measured");
    for (const [place, element] of folded.reverse()) place.replaceWith(element);
    const problems = violations.map((found) =>
        `${found.id}: ${found.nodes.slice(0, 4).map((node) => node.html.slice(0, 200) + " | " +
            node.any.concat(node.all).map((check) => check.message).join(" ").slice(0, 200)).join("\\n    ")}`);
    return [WIDE ? [...problems, "scrolls sideways"] : problems, keys];
}""".replace("WIDE", TOO_WIDE)
# The kinds of elements that a width changes in more than their places: what is around the page's own part, and tables,
# whose rows are cards on a narrow page.
CHANGING = """() => [...document.querySelectorAll("body *:not(main, main *), table, tr, th, td")]
    .map((element) => `${element.parentElement.localName} ${element.localName}.${element.getAttribute("class")}`)"""
# The kinds of all elements of a page: what stands in what, and how each of them is styled and named.
KINDS = """() => {
    const kind = (element) => [element.localName, element.getAttribute("class"), element.getAttribute("type"),
        element.getAttribute("role"), element.getAttributeNames()].join();
    return [...document.querySelectorAll("body *")]
        .map((element) => `${kind(element.parentElement)} > ${kind(element)}`);
}"""
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
WITHOUT_ALERT = """() => document.querySelector(".is-invalid") && !document.querySelector("[role=alert]")
    ? ["errors without an alert"] : []"""
ALL_BUT_AXE = f"() => [{UNSEEN_FOCUS}, {SILENT_ERRORS}, {WITHOUT_ALERT}].flatMap((find) => find())"


class Look:
    """Call it with an open page. `seen` are the URL names that it saw, `problems` what it found."""

    # Kinds of elements that this process looked at; those of CHANGING at both widths in both themes.
    known: ClassVar[set[str]] = set()
    # How many elements of each style axe measured in this process.
    measured: ClassVar[Counter[int]] = Counter()

    def __init__(self, *, at_every_page):
        self.at_every_page = at_every_page
        self.seen, self.problems = set(), []

    def __call__(self, page):
        # A click returns once the next page has begun to load.
        page.wait_for_load_state()
        kinds = {*page.evaluate(KINDS)}
        if self.at_every_page or not kinds <= self.known:
            self._look(page)
        else:
            page.set_viewport_size({"width": WIDTHS["narrow"], "height": 900})
            self._tell(page, page.evaluate(f"() => ({TOO_WIDE}) ? ['scrolls sideways'] : []"))
        # What is focused after a key shows it.
        page.keyboard.press("Shift")
        self._tell(page, page.evaluate(ALL_BUT_AXE))
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": WIDTHS["wide"], "height": 900})
        self.known.update(kinds)
        self._note(page.url)

    def _look(self, page):
        self._run(page, "wide light", EVERYTHING)
        changing = {*page.evaluate(CHANGING)}
        is_new = not changing <= self.known
        if is_new:
            page.emulate_media(color_scheme="dark")
            self._run(page, "wide dark", COLOURS)
            page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": WIDTHS["narrow"], "height": 900})
        if is_new:
            self._run(page, "narrow light", EVERYTHING)
        page.emulate_media(color_scheme="dark")
        self._run(page, "narrow dark", LAYOUT)
        self.known.update(changing)

    def _run(self, page, how, options):
        enough = [style for style, times in self.measured.items() if times >= 3]
        given = {"theme": how.split()[1], "options": options, "enough": enough}
        problems, styles = page.evaluate(AXE, given)
        self.measured.update(styles)
        self._tell(page, (f"{how} {found}" for found in problems))

    def _tell(self, page, found):
        self.problems += [f"{page.url} {problem}" for problem in found]

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
