"""Object stores: the contract (store.py), S3 (s3.py) and a store in memory (memory.py)."""
