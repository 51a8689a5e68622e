"""Projects as folders: written from one API, read into another one, and read from other trackers."""
