"""Looking sketches up among sorted arrays: the reading half of a near-duplicate index."""
