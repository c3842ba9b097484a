"""Other PDPs over HTTP: each is asked for a second opinion (``core.opinion_ports``)."""
