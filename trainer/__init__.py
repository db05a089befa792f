"""What a token stream is worth. The only home of training code."""

import os

# cuBLAS repeats its sums only with a workspace of its own, and torch asks for that once: at a process's first product on a GPU,
# which may be long before `trainer.exactness` is entered.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
