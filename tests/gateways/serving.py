"""Runs each gateway with the configuration that docs/gateways/ ships; only addresses and ports differ."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from http.client import HTTPException, HTTPResponse
from pathlib import Path

import pytest
from django.conf import settings

from portal.demo import embedded
from tests.clock import eventually
from tests.servers import free_port

SHIPPED = settings.BASE_DIR / "docs/gateways"
FILES = {"nginx": "nginx.conf", "Caddy": "Caddyfile", "Traefik": "traefik.yml", "Envoy": "envoy.yaml"}
NGINX = """
daemon off; pid {0}/nginx.pid; error_log {0}/error.log; worker_processes 1; events {{}}
http {{
    access_log off;
    client_body_temp_path {0}/body; proxy_temp_path {0}/proxy; fastcgi_temp_path {0}/fastcgi;
    uwsgi_temp_path {0}/uwsgi; scgi_temp_path {0}/scgi;
    include {0}/nginx.site.conf;
}}
"""
CADDY = "{\n\tadmin off\n\tauto_https off\n\tpersist_config off\n}\n"


def program(name):
    """Return the path of a gateway's program. A missing one fails in CI and skips elsewhere."""
    if name != "nginx":
        return str(Path(sys.executable).with_name(name.lower()))
    found = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        text = "nginx is missing: apt-get install nginx-light"
        pytest.fail(text) if os.environ.get("CI") else pytest.skip(text)
    return found


def configuration(name, *, port, portal, api, folder):
    """Return the shipped configuration with this test's ports in it."""
    listening = {
        "nginx": ("listen 80;", f"listen 127.0.0.1:{port};"),
        "Caddy": ("\napi.example.com {", f"\nhttp://api.example.com:{port} {{"),
        "Traefik": ('address: ":80"', f'address: "127.0.0.1:{port}"'),
        "Envoy": ("address: 0.0.0.0, port_value: 80 ", f"address: 127.0.0.1, port_value: {port} "),
    }
    text = (SHIPPED / FILES[name]).read_text()
    changes = [listening[name], ("8000", str(portal)), ("9000", str(api))]
    if name == "Traefik":
        changes.append(("filename: traefik.yml", f"filename: {folder}/traefik.yml"))
    for shipped, here in changes:
        assert shipped in text, f"{FILES[name]} has no {shipped!r}"
        text = text.replace(shipped, here)
    return CADDY + text if name == "Caddy" else text


class Gateway:
    """One running gateway in front of an API, which asks the portal on `portal` about each call."""

    def __init__(self, name, *, portal, api, folder):
        self.name, self.port = name, free_port()
        text = configuration(name, port=self.port, portal=portal, api=api, folder=folder)
        file = folder / FILES[name]
        file.write_text(text)
        command = {
            "nginx": ["-p", str(folder), "-c", str(file)],
            "Caddy": ["run", "--config", str(file), "--adapter", "caddyfile"],
            "Traefik": [f"--configFile={file}"],
            "Envoy": ["-c", str(file), "--disable-hot-restart", "--concurrency", "1"],
        }[name]
        if name == "nginx":
            file.rename(folder / "nginx.site.conf")
            file.write_text(NGINX.format(folder))
            # nginx's workers run as somebody else when it is started by root.
            folder.chmod(0o755)
        self.log = folder / "log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [program(name), *command], cwd=folder, preexec_fn=embedded.end_with_parent, stdout=log, stderr=log,
                env={**os.environ, "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "HOME": str(folder)},
            )  # fmt: skip

    def wait(self):
        eventually(lambda: self.process.poll() is not None or self._is_ready())
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        return self

    def _is_ready(self):
        # Traefik listens before it has read its routes.
        with contextlib.suppress(OSError, HTTPException):
            return self.send("GET", "/api/v2/tickets")[0] != 404

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(180)

    def send(self, method, target, headers=(), body=b""):
        """Send exactly these bytes, which client libraries would tidy up; return (status, headers, body)."""
        lines = [("Host", "api.example.com"), ("Connection", "close"), *headers]
        if body or method in ("POST", "PUT"):
            lines.append(("Content-Length", str(len(body))))
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines)
        with socket.create_connection(("127.0.0.1", self.port), timeout=180) as connection:
            connection.sendall(head.encode("latin-1") + b"\r\n" + body)
            response = HTTPResponse(connection, method=method)
            response.begin()
            return response.status, response.headers, response.read()
