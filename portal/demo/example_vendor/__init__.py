"""An example vendor for tests and the demo: an OAuth server and a small API, with a switch for each oddity of real ones.

    python -m portal.demo.example_vendor --port 8101 --name "Example Calendar" --client ID SECRET REDIRECT_URI --switch refresh=kept

It listens on loopback only, where anyone may change how it behaves and read what it received (`Vendor.control`). It
keeps everything in memory; with --state, the tokens it issued are also in a file and outlive a restart.
"""
