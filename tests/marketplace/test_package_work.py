"""The work for a stranger's package, form or call grows no faster than its size, counted in steps, not seconds."""

import json
import re
import sys
from collections import Counter
from types import SimpleNamespace

import pytest

from credentials import registry
from credentials.models import Endpoint
from marketplace.package import expressions, integrations, reading
from marketplace.package.checks import check
from marketplace.package.facts import Facts
from marketplace.package.form import AskedForm
from marketplace.package.problems import MAX_TOLD
from marketplace.vendors import console, filling
from tests import factories
from tests.marketplace.packages import good

MANIFEST, OAUTH, REQUESTS, IPARAMS = (
    "manifest.json", "config/oauth_config.json", "config/requests.json", "config/iparams.json",
)  # fmt: skip


def steps(act):
    """Count the Python instructions that `act` runs."""
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(before)
    return count


class NoFacts(Facts):
    """Facts about a portal with many scopes and no credentials, without a database."""

    kept_secrets = frozenset()
    scopes = dict.fromkeys(f"desk.things{number}.view" for number in range(200))

    def clients(self, client_ids):
        return {}

    def routes(self, method, path):
        return []


def fields(n):
    return {f"field{number}": {"display_name": "Field"} for number in range(n)}


def template(**schema):
    return {"schema": {"method": "GET", "host": "api.octo.dev", **schema}}


def named(n, what="iparam.unknown"):
    return {f"x{number}": f"<%= {what}{number} %>" for number in range(n)}


def integration(**more):
    return {OAUTH: {"integrations": {"octo": {"client_id": "of-octo", **more}}}}


# Packages of size n in which two lists, or a list and a length, grow together.
SHAPES = {
    "fields and unknown names": lambda n: {IPARAMS: fields(n), REQUESTS: {"one": template(query=named(n))}},
    "fields and templates": lambda n: {IPARAMS: fields(n), REQUESTS: {f"t{each}": template() for each in range(n)}},
    "fields and headers": lambda n: {IPARAMS: fields(n), REQUESTS: {"one": template(headers=named(n, "iparam.field"))}},
    "templates and integrations": lambda n: {
        OAUTH: {"integrations": {f"i{each}": {"token_type": "account"} for each in range(n)}},
        REQUESTS: {f"t{each}": {"options": {"oauth": f"j{each}"}} for each in range(n)},
    },
    "an integration's fields and names": lambda n: integration(oauth_iparams=fields(n), options=named(n, "oauth_iparams.x")),
    "options and headers": lambda n: integration(options={**named(n), "customHeaders": named(n)}),
    "scopes": lambda n: integration(options={"scope": [f"s{each}" for each in range(n)]}),
    "products with templates": lambda n: {
        MANIFEST: {"product": {f"p{each}": {"requests": {f"r{each}": {}}} for each in range(n)}},
        REQUESTS: {f"t{each}": {} for each in range(n)},
    },
    "keys that nobody knows": lambda n: {
        IPARAMS: {"one": {f"k{each}": 1 for each in range(n)}},
        MANIFEST: {"modules": {}, **{f"k{each}": 1 for each in range(n)}},
        OAUTH: {"integrations": {"octo": {f"token_ur{each}": 1 for each in range(n)}}},
    },
    "long names and many values": lambda n: {MANIFEST: {"modules": {"k" * 200: {"l" * 200: [""] * n}}}},
    "templates and an integration's headers": lambda n: {
        **integration(client_secret="<%= oauth_iparams.s %>", token_type="account", options={"customHeaders": named(n, "iparam.x")}),
        REQUESTS: {f"t{each}": {**template(), "options": {"oauth": "octo"}} for each in range(100)},
    },
    "templates and choices": lambda n: {
        IPARAMS: {"one": {"type": "dropdown", "options": [f"o{each}" for each in range(n)]}},
        REQUESTS: {f"t{each}": template(path="/<%= iparam.one %>") for each in range(100)},
    },
    "choices": lambda n: {IPARAMS: {"one": {"type": "dropdown", "options": [f"o{each}" for each in range(n)]}}},
}  # fmt: skip


def package_files(name, n):
    return {file: json.dumps(value).encode() for file, value in SHAPES[name](n).items()}


@pytest.mark.parametrize("name", SHAPES)
def test_a_package_of_twice_the_size_takes_at_most_twice_the_work(name, monkeypatch):
    # Suggestions are counted below.
    monkeypatch.setattr(reading, "MAX_SUGGESTIONS", 0)

    def work(n):
        expressions.parse.cache_clear()
        files = package_files(name, n)
        return steps(lambda: check(files, NoFacts()))

    assert work(200) < 2.2 * work(100)


@pytest.mark.parametrize("name", ["fields and unknown names", "keys that nobody knows", "templates and integrations"])
def test_only_a_few_names_are_compared_with_a_few_others(name, monkeypatch):
    compared = []

    def get_close_matches(word, known, **more):
        compared.append(len([*known]))
        return []

    monkeypatch.setattr(reading.difflib, "get_close_matches", get_close_matches)
    check(package_files(name, 3000), NoFacts())
    assert len(compared) == reading.MAX_SUGGESTIONS and max(compared) <= reading.MAX_KNOWN


def test_each_optional_scope_is_looked_up_once(monkeypatch):
    compared = 0

    class Word(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other):
            nonlocal compared
            compared += 1
            return str.__eq__(self, other)

    monkeypatch.setattr(integrations, "words", lambda value: [Word(word) for word in value])
    requested, optional = ([f"{kind}{number}" for number in range(300)] for kind in "ao")
    one = SimpleNamespace(facts=NoFacts(), tell=lambda *_: None, suggest=lambda *_: "")
    one.facts.held[None] = set()
    client = SimpleNamespace(pk=None)
    integrations.Integrations._scopes(one, "", {"scope": requested, "optional_scope": optional}, client)
    assert compared < 2 * 600


@pytest.mark.django_db
def test_a_report_lists_a_hundred_problems_and_counts_the_rest(cast):
    files = good(factories.client(cast.dev)[0])
    files[MANIFEST] |= {f"unknown-{number}": 1 for number in range(130)}
    report = check({file: json.dumps(value).encode() for file, value in files.items()}, Facts())
    *listed, last = report.problems
    assert len(listed) == MAX_TOLD == 100 and report.valid
    assert (last.level, last.file, last.pointer) == ("warning", "", "") and last.message.startswith("30 more problems")
    # Errors come before any number of warnings.
    files[OAUTH]["integrations"]["octo"]["token_url"] = "http://octo.dev/"
    report = check({file: json.dumps(value).encode() for file, value in files.items()}, Facts())
    assert not report.valid and len(report.problems) == 101
    assert [each.pointer for each in report.problems if each.level == "error"] == ["/integrations/octo/token_url"]


@pytest.mark.parametrize(
    "inside", ["a" + " " * 4000 + "b", "(" * 4000, "( " * 2000, "a(b" * 1300, ")" * 4000, "(a) " * 1000]
)
def test_a_line_of_the_form_is_read_in_linear_time(inside):
    def work(text):
        return steps(lambda: AskedForm({"asked": f"key: {text}"}).is_valid())

    work("a")
    assert work(inside) < 2 * work("a b") + 500


def test_a_text_in_the_form_has_a_maximum_length():
    form = AskedForm({"asked": "key: " + "x" * 20_000})
    assert not form.is_valid() and "at most 20000 characters" in str(form.errors)


@pytest.mark.parametrize(
    "context",
    [
        {"k" * 250: {f"x{each}": None for each in range(101)}},
        {f"x{each}": {} for each in range(101)},
        {"k" * 251: "x"},
        {"a": {"b": {"k" * 100_000: None}}},
    ],
)
def test_a_context_has_a_maximum_number_of_names_even_empty_ones(context):
    with pytest.raises(filling.BadInput, match="more than 100 values, or a name or value that is too long"):
        filling.texts_of(context)


def test_indenting_a_vendors_answer_does_not_make_it_many_times_longer():
    deep = "[" * 400 + "1," * 3000 + "1" + "]" * 400
    assert console._readable(deep) == deep
    assert console._readable('{"a": [1]}') == '{\n  "a": [\n    1\n  ]\n}'


def test_the_pattern_of_each_route_is_compiled_once_however_many_there_are(monkeypatch):
    """Python caches some hundreds; with more routes, each template would compile all of them again."""
    compiled = Counter()

    def compile_(pattern, *more):
        compiled[pattern] += 1
        return _compile(pattern, *more)

    _compile = re.compile
    monkeypatch.setattr(re, "compile", compile_)
    endpoints = [
        Endpoint(method="GET", path=f"/many/r{number}/{{id}}", pattern=f"^/many/r{number}/[^/]+$")
        for number in range(600)
    ]
    for number in range(20):
        assert registry.match(endpoints, f"/many/r{number}/7") is endpoints[number]
    assert len(compiled) == 600 and {*compiled.values()} == {1}
