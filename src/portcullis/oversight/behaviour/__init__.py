"""What is usual for an agent, learned from the log, and how far it is from that: pure.

``learner.Learner`` is told the events of all logs in order of time and says how agents stand; the
gate and ``portcullis bench behaviour`` run the same one.
"""
