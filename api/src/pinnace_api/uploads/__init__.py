"""Uploads in several requests: each piece is kept when it has arrived, so one that breaks off is taken up again."""
