"""Projects: names under which experiments gather."""
