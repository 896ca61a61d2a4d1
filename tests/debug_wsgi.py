"""The portal as it is served, with every logger that is not held back by the settings at DEBUG."""

import logging

from portal.wsgi import application

logging.getLogger().setLevel(logging.DEBUG)

__all__ = ["application"]
