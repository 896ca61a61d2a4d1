#!/usr/bin/env python
import os
import sys
from pathlib import Path

# These read no data: they work without servers and secrets. `servers` starts them itself.
READING = {"help", "--help", "-h", "version", "--version", "makemigrations", "servers"}

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    from portal.demo import embedded, environment
    from portal.foundation.environment import require_environment

    try:
        if not READING.intersection(sys.argv[1:2] or ["help"]):
            environment.complete(Path(__file__).resolve().parent / "var")
            require_environment()
        execute_from_command_line(sys.argv)
    except (ImproperlyConfigured, embedded.CannotStart) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
