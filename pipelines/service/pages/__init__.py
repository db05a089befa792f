"""Web pages: thin skins over `Service`, drawn on the server, readable without scripts and live with them."""
