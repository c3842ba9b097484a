"""Measuring the gate: what it adds to a call, beside a bare proxy in the same run."""
