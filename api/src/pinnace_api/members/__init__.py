"""Members: who is what to a project."""
