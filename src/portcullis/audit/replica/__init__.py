"""Copies of a log elsewhere: shipping them, and mirroring them on the far side."""
