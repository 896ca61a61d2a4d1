"""What happens to accounts and teams, to those who are invited to them, and to people."""
