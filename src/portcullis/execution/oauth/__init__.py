"""OAuth 2.0 towards upstreams: tokens that are one user's, for calls that are made for that user.

The flows are small and bounded here, over the gate's own HTTP client, whose answers are limited in
size and time and never redirect; a library's client would bring another one.
"""
