"""What scores texts with a fitted classifier: fastText models read in place, and logistic regression over embeddings."""
