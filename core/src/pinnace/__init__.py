"""Pinnace: run machine-learning experiments on Kubernetes and never lose an artifact."""
