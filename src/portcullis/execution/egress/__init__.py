"""The way out for agents: names, addresses, connections, certificates, credentials."""
