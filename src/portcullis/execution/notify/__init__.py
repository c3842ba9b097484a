"""Channels to people outside the gate: the adapters of ``core.notice_ports.Teller``."""
