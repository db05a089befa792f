"""N-gram models with modified Kneser-Ney smoothing: counting, adjusting, estimating, writing."""
