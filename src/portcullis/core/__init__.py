"""The vocabulary of Portcullis: calls, principals, sessions, verdicts, events, errors, ports.

Nothing here does I/O, reads a clock or imports another package of ours.
"""
