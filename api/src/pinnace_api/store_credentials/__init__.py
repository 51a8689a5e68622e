"""Short-lived credentials for pods, limited to the keys of their namespace."""
