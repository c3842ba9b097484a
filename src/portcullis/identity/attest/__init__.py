"""Attestation: what can be known about a workload without asking it."""
