"""Actions on apps, versions and installations, in story order: publishing, offering, installing, upgrading."""
