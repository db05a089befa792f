"""Ablations: arms of one run, trained side by side on equal terms, and what their losses prove."""
