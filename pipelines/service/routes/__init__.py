"""The HTTP interface: thin skins over `Service`, one file an idea."""
