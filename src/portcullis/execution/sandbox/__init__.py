"""Kinds of boxes: bubblewrap, OCI runtimes, WebAssembly. The port is ``core.sandbox_ports``."""
