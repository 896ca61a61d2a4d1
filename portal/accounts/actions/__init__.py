"""Actions on accounts, teams, invitations and people."""
