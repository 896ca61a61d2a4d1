"""App packages: reading them, checking them, converting old ones. Nothing in a package is ever run."""
