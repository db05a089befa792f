"""The service's database: a cache of the store that answers lists quickly. Deleting it loses nothing."""
