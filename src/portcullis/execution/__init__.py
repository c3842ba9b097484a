"""What carries a decided call out: the HTTP forwarder, the channels to MCP servers, the secrets.

Everything here assumes that the upstream is hostile: every answer is bounded in size and time,
and none is passed on that holds the credential it was given.
"""
