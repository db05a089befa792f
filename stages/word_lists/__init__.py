"""Lists of words, as files; LICENSES.md names their sources and licences."""
