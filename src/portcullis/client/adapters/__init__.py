"""The guard in front of the tools of agent frameworks: ``tools = guarded(guard, tools)``.

One module per framework, each imported by those who use it.
"""
