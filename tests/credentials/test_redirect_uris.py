"""C5: which redirect URIs may be registered, and which requested one matches."""

import pytest
from django.core.exceptions import ValidationError

from credentials.redirect_uris import matches, validate


@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example/callback",
        "https://app.example:8443/a/b?tenant=1",
        "https://oauth.pstmn.io/v1/callback",
        "https://xn--bcher-kva.example/",
        "http://127.0.0.1:9999/callback",
        "http://127.0.0.1/callback",
        "http://[::1]:5/callback",
        "http://localhost:3000/",
    ],
)
def test_https_and_loopback_http_may_be_registered(uri):
    assert validate(uri) == uri


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("http://app.example/callback", "https://"),
        ("http://localhost.evil.example/callback", "https://"),
        ("http://127.0.0.1.evil.example/callback", "https://"),
        ("http://127.1/callback", "https://"),
        ("http://[::2]/callback", "https://"),
        ("myapp://callback", "https://"),
        ("javascript:alert(1)", "https://"),
        ("data:text/html,x", "https://"),
        ("//app.example/callback", "https://"),
        ("app.example/callback", "https://"),
        ("https://", "host"),
        ("https:///callback", "host"),
        ("https://*.app.example/callback", "host"),
        ("https://app.example./callback", "host"),
        ("https://app..example/callback", "host"),
        ("https://-app.example/callback", "host"),
        ("https://app.example:/callback", "host"),
        ("https://app.example:0/callback", "host"),
        ("https://app.example:99999/callback", "not a URL"),
        ("https://app%2eexample/callback", "host"),
        ("https://user@app.example/callback", "user name"),
        ("http://localhost@evil.example/callback", "user name"),
        ("https://app.example/callback#part", "fragment"),
        ("https://app.example/callback#", "fragment"),
        ("https://app.example/a/../callback", "path"),
        ("https://app.example/a/%2e%2E/callback", "path"),
        ("https://app.example/./callback", "path"),
        ("https://app.example\\@evil.example/", "a URL cannot have"),
        ("https://app.example/call back", "a URL cannot have"),
        ("https://app.example/\x00", "a URL cannot have"),
        ("https://app.example/call back", "a space (U+0020)"),
        ("https://app.example/<x>", "“<”"),
        ("https://app.example/ä", "“ä” (U+00E4)"),
        ("https://app.example/%zz", "“%25”"),
        ("https://app.example/[a]", "“[”"),
        ("https://bücher.example/", "xn--bcher-kva.example"),
        ("https://bücher.example:8443/ä", "xn--bcher-kva.example"),
        ("https://app.example/cb,", "”: put each redirect URL on its own line, without commas."),
        ("https://app.example/cb;", "”: put each redirect URL on its own line, without commas."),
        ("https://app.example/a,https://app.example/b", "”: put each redirect URL on its own line, without commas."),
        ("https://app.example/" + "x" * 500, "500"),
        ("https://app.example/?code=1", "code"),
        ("https://app.example/?x=1&state=", "state"),
        ("https://app.example/?error=1", "error"),
        ("https://app.example/?iss=https://evil.example", "iss"),
        ("https://app.example/?%69ss=1", "iss"),
    ],
)
def test_anything_else_is_refused_saying_what_to_change(uri, said):
    with pytest.raises(ValidationError) as refusal:
        validate(uri)
    assert said in refusal.value.message


@pytest.mark.parametrize(
    ("registered", "requested", "same"),
    [
        ("https://app.example/cb", "https://app.example/cb", True),
        ("https://app.example/cb", "https://app.example:443/cb", False),
        ("https://app.example/cb", "https://APP.example/cb", False),
        ("https://app.example/cb", "https://app.example/cb/", False),
        ("https://app.example/cb", "https://app.example/cb?x=1", False),
        ("https://app.example/cb", "https://app.example/c%62", False),
        ("https://app.example/cb", "https://app.example.evil.example/cb", False),
        ("http://127.0.0.1:1/cb", "http://127.0.0.1:2/cb", True),
        ("http://127.0.0.1/cb", "http://127.0.0.1:2/cb", True),
        ("http://[::1]:1/cb", "http://[::1]:2/cb", True),
        ("http://127.0.0.1:1/cb", "http://localhost:1/cb", False),
        ("http://127.0.0.1:1/cb", "https://127.0.0.1:1/cb", False),
        ("http://127.0.0.1:1/cb", "http://127.0.0.1:1/other", False),
        ("http://127.0.0.1:1/cb", "http://127.0.0.1:1@evil.example/cb", False),
        ("http://127.0.0.1:1/cb", "http://127.0.0.1:1/cb#x", False),
    ],
)
def test_a_redirect_uri_matches_character_by_character_but_for_a_loopback_port(registered, requested, same):
    """RFC 9700 section 2.1, RFC 8252 section 7.3"""
    assert matches(registered, requested) is same
