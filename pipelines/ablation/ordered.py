"""An order on a budget: a curriculum that is too long for its budget is shortened as a whole, not cut off.

Read from its beginning, a curriculum of ten million tokens shows a budget of one million its easiest tenth alone, which is
another choice of documents and not another order of them. Where orders are compared, every run reads its data to the end
(arXiv:2506.11300, arXiv:2511.18903). So on a budget below its supply an ordered arm is trained on a random part of its
documents, of the budget's size, in their order: from the first phase to the last. Another seed draws another part, as it
draws other documents of an arm without an order. Such runs share no trunk, because each has documents of its own.
"""

import numpy as np

from pipelines.ablation.views import chances
from trainer.token_pack import TokenPack
from trainer.view import View

_KIND = "ablation.part"


def part(view: View, pack: TokenPack, tokens: int, *, seed: int) -> View:
    """What is read of a view for so many trained tokens: itself, or a part of it where it has an order and more tokens.

    The copies of a document stay or go together, but for the last one's.
    """
    if not view.ordered:
        return view
    drawn = np.argsort(chances(pack, view.rows, seed, _KIND), kind="stable")
    ends = np.cumsum(pack.lengths_of(view.rows[drawn]) + 1)
    # Enough for the last token's target, too.
    count = int(np.searchsorted(ends, tokens + 1)) + 1
    if count >= len(drawn):
        return view
    return View(view.rows[np.sort(drawn[:count])], ordered=True, name=view.name, pack=pack.key)
