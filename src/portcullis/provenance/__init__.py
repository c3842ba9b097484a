"""Where the values of a call come from: the user, a trusted field, an approval, or nowhere."""
