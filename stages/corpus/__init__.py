"""Corpus stages, one relation a file."""
