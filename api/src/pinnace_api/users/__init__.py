"""Users: who they are, and the groups they are in."""
