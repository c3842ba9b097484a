"""What a hostile program in a box tries; it runs there alone (``python3 -m attempts``).

Standard library only, as nothing else of ours is in the box. Each attempt is bounded, so that one
that gets through does no harm: descriptors of what must not be written are opened, never used.
"""
