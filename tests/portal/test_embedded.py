"""Embedded PostgreSQL and Redis: shared with a second process, stopped with the first, and intact after a kill."""

import os
import signal
import subprocess
from pathlib import Path

import psycopg
import pytest
import redis


def postgres(urls, sql):
    with psycopg.connect(urls["DATABASE_URL"], autocommit=True) as connection:
        cursor = connection.execute(sql)
        return cursor.fetchone() if cursor.description else None


def test_a_second_process_joins_and_the_servers_stop_with_the_first(start_servers, tmp_path):
    first, urls = start_servers()
    second, same = start_servers()
    assert same == urls and postgres(urls, "SHOW fsync") == ("on",)
    assert redis.Redis.from_url(urls["REDIS_URL"]).ping()
    second.stdin.close()
    second.wait(180)
    assert postgres(urls, "SELECT 1") == (1,), "the process that joined stops nothing"
    first.stdin.close()
    first.wait(180)
    with pytest.raises(psycopg.OperationalError):
        postgres(urls, "SELECT 1")


def test_killing_the_parent_stops_the_servers_and_keeps_the_data(start_servers, tmp_path):
    first, urls = start_servers()
    postgres(urls, "CREATE TABLE kept (n int)")
    redis.Redis.from_url(urls["REDIS_URL"]).set("kept", "1")
    first.send_signal(signal.SIGKILL)
    first.wait(180)
    _second, again = start_servers()
    assert postgres(again, "SELECT count(*) FROM kept") == (0,)
    assert redis.Redis.from_url(again["REDIS_URL"]).get("kept") == b"1"
    assert again["DATABASE_URL"] != urls["DATABASE_URL"]


def test_a_stale_postmaster_pid_is_recognised(start_servers, tmp_path):
    first, urls = start_servers()
    data = Path(postgres(urls, "SHOW data_directory")[0])
    first.stdin.close()
    first.wait(180)
    # The id of a live process that is not PostgreSQL: this one.
    (data / "postmaster.pid").write_text(f"{os.getpid()}\n{data}\n")
    _second, again = start_servers()
    assert postgres(again, "SELECT 1") == (1,)


def test_servers_start_in_a_deep_checkout_and_under_a_private_home(start_servers, tmp_path):
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    deep = private.joinpath(*["a-folder-with-a-long-name"] * 8)
    deep.mkdir(parents=True)
    assert len(str(deep)) > 150
    _process, urls = start_servers(deep / "var")
    assert postgres(urls, "SELECT 1") == (1,) and redis.Redis.from_url(urls["REDIS_URL"]).ping()


def test_nobody_connects_without_the_password(start_servers):
    _process, urls = start_servers()
    for name in ("DATABASE_URL", "REDIS_URL"):
        scheme, _, rest = urls[name].partition("://")
        user, _, place = rest.partition("@")
        wrong = f"{scheme}://{user.partition(':')[0]}:wrong@{place}"
        with pytest.raises((psycopg.OperationalError, redis.AuthenticationError)):
            postgres({"DATABASE_URL": wrong}, "SELECT 1") if name == "DATABASE_URL" else redis.Redis.from_url(wrong).ping()  # fmt: skip
    secrets = [part.partition("@")[0].rpartition(":")[2] for part in urls.values()]
    shown = subprocess.run(
        ["cat", *map(str, Path("/proc").glob("[0-9]*/cmdline"))], capture_output=True
    ).stdout.decode()
    assert not any(secret in shown for secret in secrets), "no password on a command line that everyone can read"


def test_postgresql_runs_as_somebody_without_rights(start_servers):
    _process, urls = start_servers()
    assert Path(postgres(urls, "SHOW data_directory")[0]).stat().st_uid != 0
