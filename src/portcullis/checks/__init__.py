"""The checks of the line, one file each; `bootstrap` puts them in order."""
