"""An example vendor, for tests and the demo: an OAuth server and a small API, with a switch for each oddity of real ones.

    python -m portal.example_vendor --port 8101 --name "Example Calendar" --client ID SECRET REDIRECT_URI --switch refresh=kept

It listens on loopback only, where anyone may change how it acts and read what it got (`Vendor.control`). All that it
knows is in memory; with --state, the tokens that it gave are in a file as well, and outlive a restart.
"""
