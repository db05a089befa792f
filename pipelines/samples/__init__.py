"""A small real corpus, cut for the quickstart. See LICENSES.md."""
