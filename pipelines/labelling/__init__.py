"""Asking for labels: oracles, what they answered (kept before the next question), and the rounds of active learning."""
