"""What tools exist and what their arguments mean."""
