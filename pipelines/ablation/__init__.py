"""Ablations: arms of one run, trained side by side and compared on a panel that none of them has seen."""
