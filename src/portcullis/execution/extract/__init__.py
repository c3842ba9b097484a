"""Taking the text out of documents that nobody trusts, each in a process of its own.

A document is opaque, with a reason, unless all of its text is known to have been taken out: a part
that was not understood is never passed over in silence.
"""
