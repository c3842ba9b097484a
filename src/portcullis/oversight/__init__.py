"""Oversight: calls that wait for a human, and what keeps that honest."""
