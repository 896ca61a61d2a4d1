"""Time zones by name."""

import contextlib
import functools
import zoneinfo

_REGIONS = (
    "Africa",
    "America",
    "Antarctica",
    "Arctic",
    "Asia",
    "Atlantic",
    "Australia",
    "Europe",
    "Indian",
    "Pacific",
)


def zone_of(name: str) -> zoneinfo.ZoneInfo | None:
    """Return a time zone, or None if there is none of this name. Listing all zones would read a folder tree each time."""
    with contextlib.suppress(KeyError, ValueError, OSError):
        return zoneinfo.ZoneInfo(name)
    return None


@functools.cache
def zones_to_choose() -> dict[str, str]:
    """Return {name: title} of UTC and the zones named after a city; the others are old or technical names."""
    names = sorted(
        name for name in zoneinfo.available_timezones() if name.partition("/")[0] in _REGIONS and "/" in name
    )
    return {name: name.replace("_", " ") for name in ["UTC", *names]}
