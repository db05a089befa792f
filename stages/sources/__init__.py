"""Where documents come from, one format a file."""
