"""Identifiers of people in texts: what they look like, and which of what looks like one is one."""
