"""How often the model had guessed what people then said, as the page of a labelling tells."""

import json

from service_runs import service, spec_of

from pipelines.service.agreement import Agreement

BUDGET = 18
KINDS = {
    "high": "The {n} theorem is proved by induction over the natural numbers, and every lemma follows.",
    "low": "Buy {n} cheap watches now, click here, free shipping, hot deal, limited offer!",
}


def written(folder):
    path = folder / "kinds.jsonl"
    lines = [{"id": f"{kind}-{n}", "text": text.format(n=n)} for n in range(30) for kind, text in KINDS.items()]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def page_of(served, queue):
    return " ".join(served.get("/labels", params={"queue": queue}, headers={"Accept": "text/html"}).text.split())


def test_agreement_counts_the_answers_that_the_model_before_them_had_guessed(tmp_path):
    label = {"learner": "kinds", "oracle": "human", "budget": BUDGET, "rounds": 3, "held_out": 0.34}
    told, pages, answered, guessed = [], [], {}, 0
    with service(tmp_path) as served:
        agreement = Agreement(served.store)
        job = served.submit(spec_of(written(tmp_path), "kinds", label=label, keep=[]))["id"]
        for event in served.events(job):
            if event["type"] != "note" or "wait for a person's label" not in event["note"]:
                continue
            questions = served.get("/v1/labels/queue", params={"limit": 100}).json()["questions"]
            queue = questions[0]["queue"]
            told.append(agreement.told(queue))
            pages.append(page_of(served, queue))
            guessed += len(questions) if told[-1] else 0
            for question in questions:
                kind = "high" if "theorem" in question["text"] else "low"
                answered[question["doc_id"]] = kind
                body = {"queue": queue, "doc_id": question["doc_id"], "label": kind}
                last = agreement.told(queue)
                assert served.post("/v1/labels", body).status_code == 200
        assert served.until(job)["state"] == "SUCCEEDED"
    assert len(answered) == BUDGET
    assert told[0] is None, "no model has guessed before the first"
    assert "had guessed" not in pages[0]
    assert guessed > 0, "the last round comes after a model"
    assert (told[-1]["compared"], told[-1]["agreed"]) == (guessed - len(questions),) * 2
    final = Agreement(served.store).told(queue)
    assert last["compared"] == guessed - 1, "before the last answer"
    assert (final["compared"], final["agreed"]) == (guessed, guessed), "the kinds are told apart by any word"
    assert final["accuracy"]["documents"] == 6
    assert "The model has guessed, and nothing is answered yet" in next(
        p for p, t in zip(pages, told, strict=True) if t
    )
