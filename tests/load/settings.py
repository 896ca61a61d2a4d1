"""The portal's settings, with its static files beside the benches' data."""

from portal.settings import *  # noqa: F403
from portal.settings import VAR

STATIC_ROOT = VAR / "bench/static"
