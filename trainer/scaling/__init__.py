"""How loss falls with parameters and tokens: fits, their intervals, and what to train within a budget."""
