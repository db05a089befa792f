"""Embedding models: where they are, what they are by content, and how texts become vectors."""
