"""Everything that the losses of an ablation prove, assembled for the report as plain JSON.

Every number is finite or null; null means unknown, and a sentence beside it says why. An interval is
`{"value": x, "low": x, "high": x}`, two-sided at `confidence`; low or high null: not bounded on that side. Losses are in
bits per byte of the panel, differences are arm minus baseline (negative: the arm is better), multipliers are tokens that
the baseline needs over tokens that the arm needs for the same loss (above 1: the arm is better). The shape:

    {"format": 1, "baseline": NAME, "control": NAME | null, "confidence": .95, "resamples": 2000, "seed": 1,
     "seeds": [1, 2, 3], "budgets": [1000000, ...], "documents": 812, "bytes": 4000000,
     "verdict": "one sentence about the whole study",
     "arms": [{                                   # every arm but the baseline, in the order of the losses
       "name": NAME,
       "decided": "better" | "worse" | null,      # after Holm over the arms; null: not distinguishable
       "sentence": "curated needs 0.71 ... of the tokens ...",
       "p": .003 | null, "p_holm": .006 | null,   # two-sided; null where nothing can be tested
       "tested": "multiplier" | "loss" | null,    # what p is of: multiplier 1, or equal loss at the largest budget
       "seeds": 3,                                # paired seeds with every budget, in arm and baseline
       "seed_correlation": .4 | null,             # between arm and baseline over seeds, mean over budgets
       "missing": ["seed 2 at 4000000 tokens", ...],   # runs of the arm that are missing or diverged
       "deltas": [{"budget": 1000000, "tokens": 1000448, "flops": 1.1e13, "baseline": 1.91 | null, "arm": 1.85 | null,
                   "value": -.06 | null, "low": ..., "high": ...}],             # one per budget
       "multiplier": {"value": 1.41 | null, "low": ..., "high": ...,
                      "shrunk": 1.37 | null,      # drawn towards 1 as far as the noise demands (winner's curse)
                      "target_bits_per_byte": 1.78 | null,
                      "observed": [1.76, 1.90] | null,     # losses that both arms were observed at
                      "extrapolated": false,               # the target is outside of them
                      "method": "fit" | "interpolation" | null,
                      "with_curation": {"value", "low", "high"} | null,         # null where no cost was given
                      "reason": null | "why there is none, one sentence"},
       "curve": [{"tokens": 1000000, "flops": 1.1e13, "value": 1.4, "low": ..., "high": ..., "extrapolated": false}],
                                                  # multiplier at the loss of the baseline after so many tokens
       "crossover": {"tokens": {"value", "low", "high"} | null, "flops": 2e14 | null, "observed": false,
                     "sentence": "no crossover was observed up to 4000000 tokens"},
       "domains": [{"name": "books", "documents": 80, "bytes": 100000, "delta": {"value", "low", "high"},
                    "multiplier": {"value", "low", "high"}, "extrapolated": false}],    # at the largest budget
       "versus_control": null | {"p": .02 | null, "decided": "better" | "worse" | null, "delta": {"value", "low", "high"},
                                 "multiplier": {"value", "low", "high"}, "sentence": "..."}
     }],
     "attribution": null | {"whole": NAME,        # the arm that the steps were left out of
       "sentence": "...",
       "steps": [{"step": NAME, "arm": NAME,      # delta: loss without the step minus loss of the whole (positive: helps)
                  "delta": {"value", "low", "high"}, "multiplier": {"value", "low", "high"},
                  "p": ..., "p_holm": ..., "decided": "helps" | "hurts" | null, "sentence": "..."}]},
     "noise": {"seed_sd_bits_per_byte": {"value", "low", "high"} | null,       # of one run at the largest budget
               "seed_sd_nats_per_token": .0021 | null,    # null where the panel's tokens were not given
               "percent_tokens_bits_per_byte": .0006 | null,   # exchange rate: what 1 % more tokens is worth
               "percent_tokens_nats_per_token": .0015 | null,
               "seed_sd_percent_tokens": 1.4 | null,
               "detectable_percent_tokens": 4.1 | null,   # found with 90 % power by this many seeds
               "correlation": .3 | null, "degrees_of_freedom": 4, "paired": true, "sentence": "..."},
     "same_arms": {"replays": 200, "declared_different": 9, "rate": .045, "power_at_5_percent": .97 | null,
                   "sentence": "..."} | null      # A/A: simulated with the noise that was measured
    }
"""
