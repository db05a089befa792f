"""The job service: submit specs over HTTP, watch them, look inside, label, export, read reports."""
