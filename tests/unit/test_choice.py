import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.choice import lost

ROW = st.fixed_dictionaries(
    {
        "cluster": st.none() | st.sampled_from(["a", "ב", "漢"]),
        "value": st.none() | st.floats(width=32, allow_nan=False) | st.sampled_from([0.0, -0.0, 1.0]),
        "source": st.sampled_from(["web", "wéb", "🌍"]),
        "path": st.sampled_from(["a.jsonl", "ａ.jsonl", "𝐚.jsonl", "ﬀ.jsonl"]),
    }
)


def table(rows, kind=None):
    kind = kind or pa.float32()
    schema = {"cluster": pa.string(), "value": kind, "source": pa.string(), "path": pa.string(), "ordinal": pa.int64()}
    return pa.table({n: pa.array([r[n] for r in rows], t) for n, t in schema.items()})


def one_by_one(rows, order, by_value):
    """The slow way: look at every pair."""
    sign = -1 if order == "highest" else 1

    def place(row):
        value = row["value"]
        ranked = (value is None, sign * (value or 0.0)) if by_value else ()
        return (*ranked, row["source"], row["path"], row["ordinal"])

    return [
        row["cluster"] is not None and any(o["cluster"] == row["cluster"] and place(o) < place(row) for o in rows)
        for row in rows
    ]


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(ROW, max_size=25),
    order=st.sampled_from(["highest", "lowest"]),
    by_value=st.booleans(),
    data=st.data(),
)
def test_the_member_that_stays_is_the_one_that_comparing_all_pairs_gives(rows, order, by_value, data):
    rows = [{**row, "ordinal": i} for i, row in enumerate(data.draw(st.permutations(rows)))]
    columns = table(rows) if by_value else table(rows).drop_columns("value")

    assert lost(columns, order).tolist() == one_by_one(rows, order, by_value)


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(ROW, max_size=25), data=st.data())
def test_every_cluster_keeps_exactly_one_member(rows, data):
    rows = [{**row, "ordinal": i} for i, row in enumerate(rows)]

    stays = [r["cluster"] for r, gone in zip(rows, lost(table(rows)), strict=True) if not gone and r["cluster"]]

    assert sorted(stays) == sorted({r["cluster"] for r in rows if r["cluster"]})


def row(cluster, value, ordinal):
    return {"cluster": cluster, "value": value, "source": "web", "path": "a.jsonl", "ordinal": ordinal}


def test_text_and_truth_values_have_an_order_too():
    newest = table([row("a", "CC-2023", 0), row("a", "CC-2024", 1)], pa.string())
    true = table([row("a", False, 0), row("a", True, 1), row("a", None, 2)], pa.bool_())

    assert lost(newest).tolist() == [True, False]
    assert lost(true).tolist() == [True, False, True]


def test_clusters_may_be_numbers_and_come_in_pieces_with_their_own_dictionaries():
    pieces = [table([row("a", 1.0, 0), row("b", 1.0, 1)]), table([row("b", 2.0, 2), row("a", 0.0, 3)])]
    encoded = [p.set_column(0, "cluster", p["cluster"].dictionary_encode()) for p in pieces]
    numbers = table([row("7", 1.0, 0), row("7", 2.0, 1)])

    assert lost(pa.concat_tables(encoded)).tolist() == [False, True, False, True]
    assert lost(numbers.set_column(0, "cluster", numbers["cluster"].cast(pa.int64()))).tolist() == [True, False]


def test_nothing_is_lost_among_no_rows_and_among_rows_without_a_cluster():
    assert lost(table([])).tolist() == []
    assert lost(table([row(None, 1.0, 0), row(None, 1.0, 1)])).tolist() == [False, False]
