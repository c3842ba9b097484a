"""The enforcement point: listeners, the router, and the line that every call takes."""
