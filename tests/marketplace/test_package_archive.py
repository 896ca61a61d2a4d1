"""Reading an uploaded package: archives that lie, malformed JSON, and arbitrary bytes."""

import io
import json
import stat
import struct
import zipfile

import pytest
from django.core.management import CommandError, call_command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketplace.package.archive import FILES, MAX_ARCHIVE_BYTES
from marketplace.package.checking import check_archive
from marketplace.package.checks import check
from marketplace.package.documents import Document, step
from marketplace.package.facts import Facts
from marketplace.package.problems import Report
from tests import factories
from tests.marketplace.packages import OLD, as_bytes, as_zip, good
from tests.worlds import shared

pytestmark = pytest.mark.django_db


@shared
def files(cast):
    client, _secret = factories.client(cast.dev)
    return as_bytes(good(client))


def only_message(report):
    (problem,) = report.problems
    assert not report.valid and problem.fix
    return problem.message


def make_archive(*entries):
    """Return an archive of entries given as (name or ZipInfo, data)."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return out.getvalue()


@pytest.mark.parametrize("prefix", ["", "my-app/"])
def test_an_archive_with_everything_in_one_folder_is_read(files, prefix):
    files |= (
        {"app/index.html": b"<html>", "__MACOSX/._manifest.json": b"\0"} if not prefix else {"app/index.html": b"x"}
    )
    report = check_archive(as_zip(files, prefix=prefix), Facts())
    assert report.valid and report.problems == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/etc/passwd", "path is absolute"),
        ("C:/up.json", "path is absolute"),
        ("C:\\up.json", "path is absolute"),
        ("\\\\host\\up.json", "path is absolute"),
        ("../up.json", "This path points outside the package."),
        ("config/../../up.json", "This path points outside the package."),
        ("..\\up.json", "This path points outside the package."),
        ("config/..", "This path points outside the package."),
        ("a\nb", "a line break (U+000A)"),
        ("a\x1bb", "U+001B"),
    ],
)
def test_a_path_out_of_the_package_is_refused_with_the_reason(files, name, said):
    assert said in only_message(check_archive(as_zip({**files, name: b"x"}), Facts()))


def test_an_archive_with_backslashes_in_its_paths_is_read(files):
    """Some tools for Windows write them."""
    turned = {name.replace("/", "\\"): data for name, data in files.items()}
    report = check_archive(as_zip({**turned, "app\\": b"", "app\\index.html": b"x"}), Facts())
    assert report.valid and report.problems == []
    assert "twice" in only_message(check_archive(as_zip({**files, "config\\iparams.json": b"{}"}), Facts()))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "The file is empty"),
        (make_archive(), "The archive is empty"),
        (b"\x1f\x8b\x08rest", "a .gz file, not a .zip"),
        (b"Rar!\x1a\x07rest", "a .rar file, not a .zip"),
        (b"7z\xbc\xaf\x27\x1crest", "a .7z file, not a .zip"),
        (b"PK", "This is not a .zip file, or it is damaged."),
    ],
)
def test_the_type_of_a_file_that_is_not_a_package_is_named(data, said):
    assert said in only_message(check_archive(data, Facts()))


HTML, READ = "an app’s own installation page", "This file is not read. The portal reads "


@pytest.mark.parametrize(
    ("name", "said", "fix"),
    [
        ("config/iparams.html", HTML, "List its fields in config/iparams.json"),
        ("config/oauth.json", READ + "config/oauth_config.json", "Rename or move it to config/oauth_config.json"),
        ("config/oauth_configs.json", READ + "config/oauth_config.json", ""),
        ("config/oauth-config.json", READ + "config/oauth_config.json", ""),
        ("config/oauth_confg.json", READ + "config/oauth_config.json", ""),
        ("config/OAuth_Config.json", READ + "config/oauth_config.json", ""),
        ("Config/requests.json", READ + "config/requests.json", ""),
        ("configs/requests.json", READ + "config/requests.json", ""),
        ("config/Requests.JSON", READ + "config/requests.json", ""),
        ("config/request.json", READ + "config/requests.json", ""),
        ("config/reqeusts.json", READ + "config/requests.json", ""),
        ("config/requests.yml", READ + "config/requests.json", ""),
        ("config/iparam.json", READ + "config/iparams.json", ""),
        ("config/iparams.json~HEAD", READ + "config/iparams.json", ""),
        ("iparams.json", READ + "config/iparams.json", "Rename or move it"),
        ("app/config/oauth_config.json", READ + "config/oauth_config.json", "Rename or move it"),
        ("server/requests.json", READ + "config/requests.json", ""),
        (
            "config/colours.json",
            "reads only oauth_config.json, requests.json, iparams.json",
            "leave this file as it is",
        ),
        (
            "dist/app.zip",
            "The portal does not read archives inside the package.",
            "If this archive is the app, upload it instead. Otherwise, leave it out.",
        ),
        ("dist/app.TAR.GZ", "The portal does not read archives inside the package.", ""),
    ],
)
def test_an_ignored_file_is_reported_with_the_name_that_would_be_read(files, name, said, fix):
    missing = said.removeprefix(READ)
    others = {file: data for file, data in files.items() if file != missing}
    # It is reported even if the intended file exists too, unless it is deep inside the app.
    whole = [files] if name.lower().startswith("config") and missing in FILES else []
    for kept, prefix in ((others, ""), (others, "my-app/"), *((each, "") for each in whole)):
        archive = as_zip({**kept, name: b"{}"}, prefix=prefix)
        problems = [each for each in check_archive(archive, Facts()).problems if each.file == name]
        assert [each.level for each in problems] == ["warning"] and said in problems[0].message
        assert (fix if kept is others else "Move anything that is missing into") in problems[0].fix


def test_the_apps_own_files_are_not_reported(files):
    """Nor are similarly named files when the intended one exists, or files that only the platform uses."""
    beside = (
        "app/index.html", "app/manifest.json", "server/server.js", "server/lib/requests.js", "README.md", "package.json",
        "config/iparam_test_data.json", "config/entities.json", "config/assets/iparams.js", "config/.DS_Store",
        "node_modules/oauth/config/oauth.json", "server/test_data/onTicketCreate.json", "app/requests.json",
    )  # fmt: skip
    assert check_archive(as_zip({**files, **dict.fromkeys(beside, b"{}")}), Facts()).problems == []


@pytest.mark.parametrize(
    ("name", "beside"),
    [
        ("my-app/manifest.json", ["README.md"]),
        ("Manifest.json", []),
        ("src/app/manifest.json", ["src/x", "y"]),
        ("dist/app.zip", ["README.md"]),
    ],
)
def test_a_misplaced_manifest_is_pointed_out(name, beside):
    problems = check_archive(as_zip(dict.fromkeys([name, *beside], b"{}")), Facts()).problems
    assert [(each.file, each.level) for each in problems] == [("manifest.json", "error")]
    assert f"“{name}”" in problems[0].message


def test_a_symbolic_link_is_refused(files):
    link = zipfile.ZipInfo("config/oauth_config.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert "symbolic link" in only_message(check_archive(make_archive((link, "/etc/passwd")), Facts()))


def test_a_duplicate_name_is_refused(files):
    with pytest.warns(UserWarning, match="Duplicate name"):
        data = make_archive(("manifest.json", "{}"), ("manifest.json", "{}"))
    assert "twice" in only_message(check_archive(data, Facts()))


def test_a_zip_bomb_is_refused_by_its_stated_size_or_read_only_up_to_the_limit(files):
    big = b"0" * (60 * 2**20)
    bomb = as_zip({"manifest.json": big})
    assert len(bomb) < 100_000 and "unpacks to more" in only_message(check_archive(bomb, Facts()))
    lying = bomb.replace(struct.pack("<L", len(big)), struct.pack("<L", 300_000))
    assert "larger than 256 KB" in check_archive(lying, Facts()).problems[0].message


def test_too_much_is_refused(files):
    assert "larger than" in only_message(check_archive(b"PK" + b"\0" * MAX_ARCHIVE_BYTES, Facts()))
    assert "more than 2000" in only_message(check_archive(make_archive(*[(f"{n}", "") for n in range(2001)]), Facts()))
    report = check({**files, "config/iparams.json": b'{"a": "' + b"x" * 300_000 + b'"}'}, Facts())
    assert "larger than 256 KB" in only_message(report)


def test_an_encrypted_file_and_an_unknown_compression_are_refused(files):
    data = bytearray(make_archive(("manifest.json", "{}")))
    directory = data.index(b"PK\1\2")
    data[directory + 8] |= 1
    assert "encrypted" in only_message(check_archive(bytes(data), Facts()))
    assert "compression" in check_archive(as_zip(files, compression=zipfile.ZIP_LZMA), Facts()).problems[0].fix


@pytest.mark.parametrize(
    ("data", "words", "line"),
    [
        (b'{"a": 1,\n "a": 2}', "twice", 2),
        (b'{"a": 1,\n}', "double quotes", 2),
        (b'{"a": [1,]}', "value was expected", 1),
        (b'// no\n{}', "not valid JSON", 1),
        (b"{'a': 1}", "not valid JSON from here on: “'”", 1),
        ("{\u201ca\u201d: 1}".encode(), "not valid JSON from here on: “\u201c” (U+201C)", 1),
        (b'{"a": 1', "The file ends before the JSON is complete.", 1),
        (b'{"a": NaN}', "not valid JSON", 1),
        (b'{"a": 01}', "“,”", 1),
        (b'{"a": 1e999}', "too large", 1),
        (b'{"a": ' + b"9" * 5000 + b"}", "cannot be read", 1),
        (b'{"a": "\\ud800"}', "cannot be stored", 1),
        (b'{"a": "\\u0000"}', "cannot be stored", 1),
        (b'{"a": "\\x"}', "cannot be read", 1),
        (b'{"a" 1}', "“:”", 1),
        (b"{} {}", "more text after the end", 1),
        (b"", "is empty", 1),
        (b" \n\t", "is empty", 1),
        (b"\xef\xbb\xbf", "is empty", 1),
        (b'{"' + b"k" * 251 + b'": 1}', "longer than 250", 1),
        ("{}".encode("utf-16"), "UTF-8", 1),
        ("{}".encode("utf-16-le"), "NUL", 1),
        ('{"a":\n "ä"}'.encode("latin-1"), "UTF-8", 2),
        (b"[" * 30 + b"]" * 30, "deep", 1),
        (b"[" * 100_000, "deep", 1),
    ],
)  # fmt: skip
def test_malformed_json_is_reported_with_its_line(data, words, line):
    problem = next(iter(Document("x.json", data).problems))
    assert words in problem.message and problem.line == line


def test_a_byte_order_mark_is_ignored():
    assert Document("x.json", b"\xef\xbb\xbf{}").value == {}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(json_values, st.sampled_from([None, 2]))
def test_a_document_is_read_like_by_any_parser_and_every_place_has_a_line(value, indent):
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    document = Document("x.json", text.encode())
    assert document.value == value and not [*document.problems]
    last = text.count("\n") + 1
    assert all(1 <= document.line(step("", *spot)) <= last for spot in paths(value))


def paths(value, pointer=()):
    yield pointer
    if isinstance(value, dict):
        for key in value:
            yield from paths(value[key], (*pointer, key))


@pytest.mark.parametrize("old", [False, True])
def test_any_content_of_a_package_gives_a_report(cast, old):
    client, _secret = factories.client(cast.dev)
    files = dict(OLD) if old else good(client)
    pairs = [(file, spot) for file in files for spot in paths(files[file])]

    @settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(pairs),
                json_values | st.sampled_from(["<%= x", "{{", "https://[", "<%= a ? b : c %>", "https://a:b@c:99999/"]),
            ),
            min_size=1,
            max_size=4,
        )
    )
    def holds(changes):
        spoilt = json.loads(json.dumps(files))
        for (file, spot), value in changes:
            inside = spoilt
            for part in (file, *spot)[:-1]:
                inside = inside.get(part) if isinstance(inside, dict) else None
            if isinstance(inside, dict):
                inside[(file, *spot)[-1]] = value
        report = check(as_bytes({name: json.dumps(value).encode() for name, value in spoilt.items()}), Facts())
        assert isinstance(report, Report) and json.dumps(report.as_dict())

    holds()


def test_any_bytes_give_a_report(files):
    whole = as_zip(files)

    @settings(max_examples=200, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(
        st.binary(max_size=200)
        | st.tuples(st.integers(0, len(whole) - 1), st.binary(min_size=1, max_size=8)).map(
            lambda cut: whole[: cut[0]] + cut[1] + whole[cut[0] + len(cut[1]) :]
        )
        | st.integers(0, len(whole)).map(lambda end: whole[:end])
    )
    def archive(data):
        assert json.dumps(check_archive(data, Facts()).as_dict())

    @settings(max_examples=100, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.dictionaries(st.sampled_from(FILES), st.binary(max_size=300)))
    def documents(some):
        assert json.dumps(check(some, Facts()).as_dict())

    archive()
    documents()


def run(capsys, *args):
    try:
        call_command("check_package", *args)
        status = 0
    except SystemExit as left:
        status = left.code
    return status, capsys.readouterr().out


@pytest.mark.parametrize("packing", ["a zip", "a folder"])
def test_the_command_reports_the_same_for_a_zip_and_a_folder(files, tmp_path, capsys, packing):
    path = tmp_path / "app"
    if packing == "a zip":
        path.write_bytes(as_zip(files))
    else:
        (path / "config").mkdir(parents=True)
        for name, data in files.items():
            (path / name).write_bytes(data)
    assert run(capsys, str(path)) == (0, "Valid, format 3.x.\n")
    status, out = run(capsys, str(path), "--json")
    assert status == 0 and json.loads(out) == {"valid": True, "format": "3.x", "problems": []}


def test_the_command_exits_1_with_every_problem_of_an_invalid_package(files, tmp_path, capsys):
    path = tmp_path / "app.zip"
    path.write_bytes(as_zip({**files, "config/iparams.json": b"{\n oops}"}))
    status, out = run(capsys, str(path), "--json")
    report = json.loads(out)
    assert status == 1 and report["valid"] is False
    problem_found = next(problem for problem in report["problems"] if problem["file"] == "config/iparams.json")
    assert problem_found.keys() == {"level", "file", "pointer", "line", "message", "fix"}
    assert (problem_found["level"], problem_found["line"]) == ("error", 2)
    assert "config/iparams.json:2: error: " in run(capsys, str(path))[1]


def test_the_command_names_the_archive_for_a_problem_of_the_whole(tmp_path, capsys):
    path = tmp_path / "app.zip"
    path.write_bytes(b"no zip")
    assert run(capsys, str(path))[1].startswith(f"{path}: error: ")
    (tmp_path / "empty").mkdir()
    # The pointer to a whole document is empty (RFC 6901, section 5).
    first = run(capsys, str(tmp_path / "empty"))[1].splitlines()[0]
    assert first.startswith("manifest.json: error: ") and not first.endswith("]")


def test_the_command_checks_credentials_for_a_given_app(cast, files, tmp_path, capsys):
    path = tmp_path / "app.zip"
    path.write_bytes(as_zip(files))
    other, _secret = factories.client(cast.other_dev)
    theirs = factories.app(cast.other_dev, other).app
    assert run(capsys, str(path), "--app", theirs.slug)[0] == 1
    for args, said in (((str(path), "--app", "nobody"), "no app"), ((str(tmp_path / "nowhere.zip"),), "No such file")):
        with pytest.raises(CommandError, match=said) as refused:
            run(capsys, *args)
        assert refused.value.returncode == 2


def test_links_out_of_a_folder_are_not_followed(files, tmp_path, capsys):
    (tmp_path / "app/config").mkdir(parents=True)
    (tmp_path / "app/manifest.json").symlink_to("/etc/hostname")
    status, out = run(capsys, str(tmp_path / "app"))
    assert status == 1 and "symbolic link" in out
