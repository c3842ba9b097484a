"""Attacks on the gate, as measurements: what a fully compromised agent would get done."""
