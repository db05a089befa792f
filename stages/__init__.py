"""What can be measured. Knows nothing of runs, Ray, storage or HTTP."""
