"""Alerts: rules over the events of the log, in the manner of Sigma (sigmahq.io).

A rule selects events by their fields and may join several: how many, of how many different values,
in what order, or a value that was not there before. Rules are data; what they raise is a value.
"""
