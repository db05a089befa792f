"""Chinchilla's parametric law from the 240 points that Epoch read off its figure: the constants, and the seconds of one core.

The points are in the shared data, which not every machine has; what they must give is Besiroglu and others' (arXiv:2404.10102).
"""

import json
import time
from pathlib import Path

from pipelines.api import scaling_fit

POINTS = Path(__file__).parents[3] / "shared" / "data" / "fixtures" / "chinchilla_points.csv"
PUBLISHED = {"E": 1.817, "alpha": 0.347, "beta": 0.367}
NEAR, MOST_SECONDS = 0.005, 10


def main() -> None:
    """Print a figure for each constant, and the time."""
    if not POINTS.exists():
        print(f"left out: there is no {POINTS.name} in the shared data")
        return
    began = time.process_time()
    found = scaling_fit(POINTS, resamples=0, seed=0)
    seconds = time.process_time() - began
    for name, published in PUBLISHED.items():
        value = found[name]["value"]
        holds = abs(value - published) < NEAR
        print(
            json.dumps({"what": f"Chinchilla, {name}", "ours": value, "bar": f"{published} ± {NEAR}", "holds": holds})
        )
    figure = {"what": "Chinchilla, without intervals", "ours": round(seconds, 2), "unit": "s of CPU time"}
    print(json.dumps(figure | {"bar": f"< {MOST_SECONDS}", "holds": seconds < MOST_SECONDS}))


if __name__ == "__main__":
    main()
