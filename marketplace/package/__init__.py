"""Read, check and convert app packages. Nothing in a package is ever run."""
