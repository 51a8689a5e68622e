"""Sessions: logging in and out, and how often one may try."""
