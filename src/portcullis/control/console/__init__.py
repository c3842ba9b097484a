"""The console: where people look, decide and log in, in a browser."""
