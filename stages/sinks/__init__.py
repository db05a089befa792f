"""What an export is written as, one format a file."""
