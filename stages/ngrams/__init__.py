"""What n-gram models are made of: normalizations of texts, tables of n-grams, ARPA files."""
