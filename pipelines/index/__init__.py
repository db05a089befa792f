"""Near-duplicate indexes: everything curated before, to be asked for twins across corpora and time."""
