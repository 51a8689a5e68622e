"""What is done to artifacts' bytes beside the server: moved, verified, exported, and what nobody needs removed.

Each may run while the API does, be killed at any moment, and be begun again.
"""
