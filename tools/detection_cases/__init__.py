"""Grammars from which the frozen evaluation sets of the firewall are generated."""
