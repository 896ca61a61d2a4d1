"""Every text that the code gives as an `error_description` or to a client's log, read from the code itself.

`watch` proves that nothing is missed: no test may see a description without a heading in portal/help/guides/errors.md.
"""

import ast
import json
import re
from functools import cache, partial
from itertools import product
from urllib.parse import parse_qs, urlsplit

from django.test import Client

from tests.layers import BASE, FILES, module

PAGE = BASE / "portal/help/guides/errors.md"
HOLE = "…"
# The calls that give a text, each with the position or the name of the arguments that hold it.
GIVEN_BY = {
    "_invalid": (2, 3), "_refuse": (2,), "_guard_scopes": (2,), "refused": (1,), "note": (3,), "error": ("description",),
    "Refusal": ("description",), "answer": ("error_description",), "oauth_error": (1,), "refuse": (2,),
    "ErrorAnswer": (2,), "__init__": (2,), "InvalidGrant": (0,), "InvalidScope": (0,), "Ended": (1,), "_End": (2,),
    "NoSuchTemplate": (0,), "MayNotRun": (0,), "BadInput": (0,), "NeedsConnection": (0,), "VendorFailed": (0,),
    "Forbidden": (0,), "TooLarge": (0,), "Unreachable": (0,), "TimedOut": (0,),
}  # fmt: skip
# Functions all of whose texts are given, and those of which only what they raise is.
WHOLE = {
    "why_scopes_lack",
    "problem",
    "check_body",
    "grant_type_is_sent",
    "grant_type_is_known",
    "_revoked",
    "_family_ends",
}
RAISING = {"check_literal", "check_setting"}
# Whose text nobody gets.
UNTOLD = {"use_up_code"}
TABLES = {"_FAMILY_ENDS", "_ABOUT_THE_URI"}
# Of oauthlib, whose own words are passed on.
OF_OTHERS = {"Missing client_id parameter.", "Invalid client_id parameter value.", "Missing token parameter."}
ROOMS = ("consent", "marketplace.endpoints", "marketplace.package", "marketplace.vendors", "portal")
LEFT_OUT = ("portal.demo", "portal.accounts", "portal.ledger", "portal.help")


class Texts:
    """Reads texts out of expressions, with a hole for each part that is known only when the code runs."""

    def __init__(self, function=None, tree=None):
        # The names that a function and its module give to expressions.
        self.named = {}
        for node in [*(ast.walk(function) if function else ()), *(tree.body if tree else ())]:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                self.named.setdefault(node.targets[0].id, []).append(node.value)

    def of(self, node, depth=0):
        if depth > 6 or node is None:
            return set()
        deeper = partial(self.of, depth=depth + 1)
        match node:
            case ast.Constant(value=str(text)):
                return {text}
            case ast.JoinedStr(values=values):
                return {"".join(parts) for parts in product(*(deeper(each) for each in values))}
            case ast.FormattedValue(value=value):
                return deeper(value) or {HOLE}
            case ast.BinOp(op=ast.Mod(), left=left):
                return {re.sub(r"%\(\w+\)[sd]", HOLE, text) for text in deeper(left)}
            case ast.BinOp(op=ast.Add(), left=left, right=right):
                return {a + b for a, b in product(deeper(left) or {HOLE}, deeper(right) or {HOLE})}
            case ast.Call(func=ast.Name(id="_" | "ngettext" | "gettext" | "filter"), args=args):
                return set().union(*map(deeper, args))
            case ast.Call(func=ast.Attribute(attr="join", value=ast.Constant(value="; ")), args=args):
                return set().union(*map(deeper, args))
            case ast.IfExp(body=body, orelse=other):
                return deeper(body) | deeper(other)
            case ast.Tuple(elts=elements) | ast.List(elts=elements) | ast.Dict(values=elements):
                return set().union(*map(deeper, elements))
            case ast.Name(id=name):
                return set().union(*map(deeper, self.named.get(name, ())))
        return set()


def _given(call, texts):
    """Return the texts that a call gives."""
    name = getattr(call.func, "id", getattr(call.func, "attr", ""))
    sent = {word.arg: word.value for word in call.keywords} | dict(enumerate(call.args))
    found = [texts.of(sent[place]) or {HOLE} for place in GIVEN_BY.get(name, ()) if place in sent]
    return {" ".join(parts) for parts in product(*found)} if found else set()


def _of_function(function, tree):
    texts = Texts(function, tree)
    for node in ast.walk(function):
        if isinstance(node, ast.Call):
            yield from _given(node, texts)
            if function.name in RAISING and getattr(node.func, "id", "") == "Misplaced":
                yield from texts.of(node.args[0])
        elif isinstance(node, ast.Dict):
            named = zip(node.keys, node.values, strict=True)
            for value in (value for key, value in named if getattr(key, "value", "") == "error_description"):
                yield from texts.of(value)
        elif function.name in WHOLE and isinstance(node, ast.JoinedStr | ast.Constant):
            yield from texts.of(node)


def _of_module(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name not in UNTOLD:
            told = node.body[ast.get_docstring(node) is not None :]
            yield from _of_function(ast.FunctionDef(node.name, node.args, told, []), tree)
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in TABLES:
            yield from Texts().of(node.value)


@cache
def given():
    """Return the texts of the code, with … for what differs."""
    found = set(OF_OTHERS)
    for path in FILES:
        if module(path).startswith(ROOMS) and not module(path).startswith(LEFT_OUT):
            found |= {*_of_module(ast.parse(path.read_text()))}
    return {text.strip() for text in found if len(re.findall("[A-Za-z]", text)) > 5 and " " in text.strip(f"{HOLE} ")}


@cache
def headings():
    """Return the messages that the page has a heading for."""
    return re.findall(r"^### `(.+)`$", PAGE.read_text(), re.M)


def pattern(text):
    """Return what a text with holes looks like once they are filled."""
    return re.compile(".+?".join(map(re.escape, text.split(HOLE))), re.S)


def is_same(heading, text):
    """Tell whether a heading is of a text, either of which may have holes, or go on."""
    begun = [each.rstrip(f"{HOLE} .;:") for each in (text, heading)]
    return bool(pattern(begun[0]).search(heading) or pattern(begun[1]).search(text))


def heading_for(description):
    """Return the heading of a description that the portal gave, or None."""
    return next((each for each in headings() if pattern(each.rstrip(f" {HOLE}")).search(description)), None)


def _descriptions(response):
    if response.get("Content-Type", "") == "application/json" and b"error_description" in response.content:
        told = json.loads(response.content)
        yield told.get("error_description", "") if isinstance(told, dict) else ""
    elif "error_description=" in response.get("Location", ""):
        yield from parse_qs(urlsplit(response["Location"]).query).get("error_description", ())


def watch():
    """Have the test client refuse every answer whose description has no heading."""
    ask = Client.request

    def request(self, **asked):
        response = ask(self, **asked)
        # What a vendor says at its own redirect is its own; an app's redirect URL may be anywhere.
        for text in _descriptions(response) if not getattr(response, "streaming", False) else ():
            assert not text or heading_for(text), f"errors.md has no heading for {text!r}"
        return response

    Client.request = request
