"""Read a page's forms as a browser does, and its text as a person does."""

import html
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import parse_qsl, urlsplit


@dataclass
class Form:
    """A form: what it would send unchanged (`values`), and what each field could send (`choices`)."""

    method: str
    action: str
    values: dict = field(default_factory=dict)
    # {name: {"kind": "hidden", "select", "checkbox", …, "options": [value, …]}}
    fields: dict = field(default_factory=dict)


class _Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.forms, self.form, self.select, self.area = [], None, None, None
        self.links = []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        name, value = attributes.get("name"), attributes.get("value") or ""
        if tag == "a":
            self.links.append(attributes.get("href") or "")
        elif tag == "form":
            self.form = Form(attributes.get("method", "get").upper(), attributes.get("action") or "")
            self.forms.append(self.form)
        elif self.form is None:
            return
        elif tag == "input" and name:
            kind = attributes.get("type", "text")
            self._add(name, kind, value, kind not in ("checkbox", "radio") or "checked" in attributes)
        elif tag == "button" and name:
            self._add(name, "button", value, name not in self.form.values)
        elif tag == "select":
            self.select = name
        elif tag == "option" and self.select:
            chosen = "selected" in attributes or self.select not in self.form.values
            self._add(self.select, "select", value, chosen)
        elif tag == "textarea" and name:
            self._add(name, "textarea", "", True)
            self.area = name

    def _add(self, name, kind, value, chosen):
        self.form.fields.setdefault(name, {"kind": kind, "options": []})["options"].append(value)
        if chosen:
            self.form.values[name] = value

    def handle_data(self, data):
        if self.area:
            self.form.values[self.area] += data

    def handle_endtag(self, tag):
        if tag == "form":
            self.form = None
        elif tag == "select":
            self.select = None
        elif tag == "textarea":
            if self.area:
                self.form.values[self.area] = self.form.values[self.area].removeprefix("\n")
            self.area = None


def _read(response):
    reader = _Reader()
    if not response.streaming and "text/html" in response.get("Content-Type", ""):
        reader.feed(response.content.decode())
    return reader


def forms_of(response):
    """Return the forms of a page, or none if the answer is not a page."""
    return _read(response).forms


def links_of(response):
    """Return [(path, {name: value})] of a page's links to the portal that have a query."""
    links = [urlsplit(link) for link in _read(response).links]
    here = response.request["PATH_INFO"]
    return [(link.path or here, dict(parse_qsl(link.query))) for link in links if link.query and not link.netloc]


def receipt_in(page):
    """Return the address of the receipt that a page links to after an act."""
    return re.search(r'href="(/receipts/[\w-]+/)">View receipt', _source(page))[1]


def _source(page):
    return page.text if hasattr(page, "is_redirect") else page.content.decode()


def text(response):
    """Return the text that a person reads on a page."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", response.content.decode())).split())
