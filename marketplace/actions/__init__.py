"""What happens to apps, versions and installations, in story order: publishing and offering, installing, connecting, upgrading."""
