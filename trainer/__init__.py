"""What a token stream is worth. The only home of training code."""
