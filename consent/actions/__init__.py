"""Actions on accesses and consents, in story order: granting, issuing and refusing, succeeding, ending."""
