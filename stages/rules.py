"""The policy: what `keep` may say, how it is bound to a run's columns, and how it judges rows.

    entries = parse_keep(spec["keep"])                      # models, checked
    policy = bind(entries, columns, steps, text, load)      # names and types resolved, before any work
    status = judge(policy.plain, table, thresholds)         # every rule on every row
    keep, reasons = decide(status, policy.reasons[:len(status)])

Order: plain rules, then each `one_of` among what is left. A rule whose `where` does not hold passes and is
counted as not applicable; a null is none of the values that `where` allows, so the rule does not apply there.
"""

from stages.rule_binding import (
    FIRST,
    LONGEST,
    NOT_SELECTED,
    BoundOneOf,
    BoundPolicy,
    BoundRule,
    Request,
    bind,
    check_value,
)
from stages.rule_models import (
    SYMBOLS,
    TESTS,
    KeepEntry,
    OneOf,
    Percentile,
    Rule,
    RuleFile,
    UseRules,
    parse_entry,
    parse_keep,
    parse_rule_file,
)
from stages.verdict import (
    FAIL,
    NOT_APPLICABLE,
    NULL_DROPPED,
    NULL_KEPT,
    PASS,
    Count,
    Thresholds,
    add_counts,
    count,
    decide,
    failing,
    judge,
)

__all__ = [
    "FAIL",
    "FIRST",
    "LONGEST",
    "NOT_APPLICABLE",
    "NOT_SELECTED",
    "NULL_DROPPED",
    "NULL_KEPT",
    "PASS",
    "SYMBOLS",
    "TESTS",
    "BoundOneOf",
    "BoundPolicy",
    "BoundRule",
    "Count",
    "KeepEntry",
    "OneOf",
    "Percentile",
    "Request",
    "Rule",
    "RuleFile",
    "Thresholds",
    "UseRules",
    "add_counts",
    "bind",
    "check_value",
    "count",
    "decide",
    "failing",
    "judge",
    "parse_entry",
    "parse_keep",
    "parse_rule_file",
]
