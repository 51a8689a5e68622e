"""Where artifacts' bytes lie: the contract (backend.py), its three implementations, and which of them holds what."""
