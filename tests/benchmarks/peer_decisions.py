"""What datatrove's filters decide on each text: run by the peer's own Python, which has datatrove and not tamis.

    PEER_PYTHON peer_decisions.py TEXTS.jsonl DECISIONS.jsonl

Reads one JSON string a line and writes one object a line: the reason of each profile, null where the text is kept.
Every filter sees the original text. The words of a text are found once for all filters, which changes no decision.
"""

import functools
import json
import sys
from pathlib import Path

from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    fineweb_quality_filter,
    gopher_quality_filter,
    gopher_repetition_filter,
)

PROFILES = {
    "gopher-quality@datatrove-0.10": GopherQualityFilter(),
    "gopher-repetition@datatrove-0.10": GopherRepetitionFilter(),
    "c4@datatrove-0.10": C4QualityFilter(),
    "c4@fineweb": C4QualityFilter(filter_no_terminal_punct=False),
    "fineweb@datatrove-0.10": FineWebQualityFilter(),
}


def main() -> None:
    once = functools.lru_cache(maxsize=1)(gopher_quality_filter.split_into_words)
    for module in (fineweb_quality_filter, gopher_quality_filter, gopher_repetition_filter):
        module.split_into_words = once
    with Path(sys.argv[1]).open(encoding="utf-8") as texts, Path(sys.argv[2]).open("w", encoding="utf-8") as decisions:
        for line in texts:
            text = json.loads(line)
            reasons = {}
            for name, rules in PROFILES.items():
                answer = rules.filter(Document(text=text, id="0"))
                reasons[name] = answer[1] if isinstance(answer, tuple) and not answer[0] else None
                assert answer is True or isinstance(answer, tuple), answer
            decisions.write(json.dumps(reasons) + "\n")


if __name__ == "__main__":
    main()
