"""Flat arrays of a finished run, for looking at millions of documents within the time of a click."""
