"""The evaluation of detection: rows in, `portcullis inspect` over them, figures out."""
