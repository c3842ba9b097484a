"""A second corpus for the replay: the service desks of a shop and of an airline.

Tools, records and tasks are this project's own, written by people who had not seen the gate.
"""
