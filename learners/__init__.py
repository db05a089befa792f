"""What can be fitted: pure in (table, seed), out comes an artifact named by its content hash."""
