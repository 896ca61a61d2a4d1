"""The portal as it is served, with every logger at DEBUG that the settings do not hold back."""

import logging

from portal.wsgi import application

logging.getLogger().setLevel(logging.DEBUG)

__all__ = ["application"]
