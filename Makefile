# Two commands on a machine with Python 3.11 and make: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
REAL := runs/real-speech
CROSS := runs/cross-audit
FOLDS := 1 2 3 4 5
CROSS_ATTRIBUTES := gender,native,accent_strength
BENCH := .venv-bench
ENGINE ?= docker

.DEFAULT_GOAL := help
.PHONY: help demo stack test lint real-speech cross-audit bench-attacks bench-smoothing bench-gateway soak fuzz docs bento image release clean

help: ## Say what there is.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(STAMP): pyproject.toml
	@echo "Installing evenvoice into $(VENV) (a few minutes the first time) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name it with PYTHON=..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar on -e '.[demo,study,dev]'
	@touch $(STAMP)

demo: $(STAMP) ## Train on synthetic voices, audit, serve on 127.0.0.1:3000, ask; ONCE=1 ends then.
	@$(BIN)/evenvoice demo $(if $(ONCE),--once)

stack: $(STAMP) ## Serve beside Prometheus, Alertmanager, Pushgateway; watch an alarm come; BUNDLE=, MANIFEST=, ONCE=1.
	@test -z "$(BUNDLE)$(MANIFEST)" || { test -n "$(BUNDLE)" && test -n "$(MANIFEST)"; } || \
		{ echo "BUNDLE and MANIFEST go together: make stack BUNDLE=FOLDER MANIFEST=manifest.csv"; exit 1; }
	@test -n "$(BUNDLE)" || test -f demo/summary.json || $(BIN)/evenvoice demo --once
	@$(BIN)/evenvoice stack $(if $(BUNDLE),--bundle "$(BUNDLE)" --manifest "$(MANIFEST)") $(if $(ONCE),--once)

test: $(STAMP) ## Run every test.
	@echo "Running the tests (about half an hour) ..."
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

docs: $(STAMP) ## Write docs/reference anew from the code, and build the documentation into build/docs.
	$(BIN)/python -m docs.generator
	$(BIN)/python -m sphinx --fail-on-warning --keep-going -q -d build/doctrees docs build/docs
	@echo "build/docs/index.html"

lint: $(STAMP) ## Check style and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

real-speech: $(STAMP) ## Train and audit on real digits; SPEECH=folder with fsdd, kokoro20, speech_commands_mini, duke_digits.
	@test -f "$(SPEECH)/duke_digits/manifest.csv" || { echo "Say where the corpora lie: make real-speech SPEECH=FOLDER"; exit 1; }
	$(BIN)/evenvoice corpus own $(SPEECH)/fsdd/manifest.csv $(SPEECH)/kokoro20/manifest.csv \
		$(SPEECH)/speech_commands_mini/manifest.csv $(SPEECH)/duke_digits/manifest.csv \
		--columns command=label --commands digits --others drop --native-from native \
		--attributes gender,native,age \
		--hold-out $(SPEECH)/duke_digits/manifest.csv --hold-out-share 0.55 --stratify gender --out $(REAL)/manifest.csv
	$(BIN)/evenvoice train $(REAL)/manifest.csv --name digits --epochs 48 --clips-a-speaker 40 --out $(REAL)/bundle
	$(BIN)/evenvoice audit run --bundle $(REAL)/bundle --manifest $(REAL)/manifest.csv --min-speakers 10 \
		--out $(REAL)/audit || test $$? -le 2   # 1 and 2 are verdicts

cross-audit: $(STAMP) ## Audit real digits out of fold: five bundles, each on speakers it never heard; SPEECH=folder as above.
	@test -f "$(SPEECH)/duke_digits/manifest.csv" || { echo "Say where the corpora lie: make cross-audit SPEECH=FOLDER"; exit 1; }
	set -e; for fold in $(FOLDS); do \
		$(BIN)/evenvoice corpus own $(SPEECH)/fsdd/manifest.csv $(SPEECH)/kokoro20/manifest.csv \
			$(SPEECH)/speech_commands_mini/manifest.csv $(SPEECH)/duke_digits/manifest.csv \
			--columns command=label,accent_strength=accent_strength_0_10 --commands digits --others drop \
			--native-from native --attributes $(CROSS_ATTRIBUTES) --ranges accent_strength=0-3:4-6:7-10 \
			--hold-out $(SPEECH)/duke_digits/manifest.csv --hold-out-fold $$fold/$(words $(FOLDS)) --stratify gender \
			--out $(CROSS)/$$fold/manifest.csv; \
		$(BIN)/evenvoice train $(CROSS)/$$fold/manifest.csv --attributes $(CROSS_ATTRIBUTES) --name digits \
			--epochs 48 --clips-a-speaker 40 --out $(CROSS)/$$fold/bundle; \
		$(BIN)/evenvoice audit run --bundle $(CROSS)/$$fold/bundle --manifest $(CROSS)/$$fold/manifest.csv \
			--attributes $(CROSS_ATTRIBUTES) --min-speakers 10 --attacked-clips 9 \
			--out $(CROSS)/$$fold/audit || test $$? -le 2; \
	done   # 1 and 2 are verdicts
	$(BIN)/evenvoice audit pool $(foreach fold,$(FOLDS),$(CROSS)/$(fold)/audit) --out $(CROSS)/audit || test $$? -le 2

bench-attacks: ## Time our attacks beside torchattacks', foolbox's and ART's; SPEECH=folder as above.
	@test -f "$(SPEECH)/duke_digits/manifest.csv" || { echo "Say where the corpora lie: make bench-attacks SPEECH=FOLDER"; exit 1; }
	@test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	@$(BENCH)/bin/python -m pip install --disable-pip-version-check -q -e '.[bench]'
	$(BENCH)/bin/python -m benchmarks.attacks $(SPEECH)

bench-smoothing: ## Time smoothed decisions beside Cohen's loop and ART's, on the bundle that real-speech leaves.
	@test -f $(REAL)/bundle/bundle.json || { echo "Run make real-speech SPEECH=FOLDER first"; exit 1; }
	@test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	@$(BENCH)/bin/python -m pip install --disable-pip-version-check -q -e '.[bench]'
	$(BENCH)/bin/python -m benchmarks.smoothing $(REAL)/bundle $(REAL)/manifest.csv

bench-gateway: $(STAMP) ## Time the served gateway beside a bare FastAPI server, on the bundle that real-speech leaves.
	@test -f $(REAL)/bundle/bundle.json || { echo "Run make real-speech SPEECH=FOLDER first"; exit 1; }
	$(BIN)/python -m benchmarks.gateway $(REAL)/bundle $(REAL)/manifest.csv

soak: $(STAMP) ## Mixed load on a served gateway for MINUTES (10): memory, file handles, answers lost or wrong.
	@test -f $(REAL)/bundle/bundle.json || { echo "Run make real-speech SPEECH=FOLDER first"; exit 1; }
	$(BIN)/python -m benchmarks.soak $(REAL)/bundle $(REAL)/manifest.csv --minutes $(or $(MINUTES),10)

fuzz: $(STAMP) ## Throw N (100000) damaged clips at the decoder, the HTTP door and the stream.
	@test -f $(REAL)/bundle/bundle.json || { echo "Run make real-speech SPEECH=FOLDER first"; exit 1; }
	$(BIN)/python -m benchmarks.fuzz $(or $(N),100000) --bundle $(REAL)/bundle

bento: $(STAMP) ## Pack the service with BUNDLE=folder inside as a bento, which `bentoml serve evenvoice:latest` serves.
	@test -n "$(BUNDLE)" || { echo "Say which bundle: make bento BUNDLE=FOLDER"; exit 1; }
	$(BIN)/python -m releasing.bento "$(BUNDLE)"

image: bento ## Build the image evenvoice:VERSION of that bento; ENGINE=docker, IMAGE_ARGS="--build-arg TORCH=...".
	@command -v $(ENGINE) >/dev/null || { echo "$(ENGINE) is not here; name another with ENGINE=podman"; exit 1; }
	set -e; bento=$$($(BIN)/bentoml get evenvoice:latest --output path); \
		version=$$($(BIN)/python -c 'from releasing.checks import project_version as v; print(v())'); \
		$(ENGINE) build --file "$$bento/env/docker/Dockerfile" --tag "evenvoice:$$version" $(IMAGE_ARGS) "$$bento"

release: $(STAMP) ## All of a release but handing it out: checks, wheel, a fresh environment, bill of materials; ~10 min.
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet -e '.[release]'
	@$(BIN)/python -m releasing.dry_run

clean: ## Remove what was installed and made.
	rm -rf $(VENV) $(BENCH) demo dist runs .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
