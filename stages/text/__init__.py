"""Row stages, one measurement a file."""
