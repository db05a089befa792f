"""Linking documents into clusters: buckets of equal keys, pairs to compare, connected components."""
