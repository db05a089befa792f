"""How things run: specs, plans, stores, engines, reports and the command line. The only package that sees everything."""
