"""Pods: what each pod's sidecar says of its files, beside what the API itself holds of them."""
