# PYTHON=python3.12 make ... chooses an interpreter.
PYTHON ?= python3
BIN := .venv/bin
EXTRAS := launchers measures dashboard zoo search
SUPPORTED := 'import sys; have = sys.version_info[:2]; (3, 11) <= have <= (3, 14) or sys.exit("error: `PYTHON` should be Python \
	3.11 to 3.14, for which the locked packages have wheels; found %d.%d. Name another: PYTHON=python3.12 make ..." % have)'

.PHONY: help reproduce claims test test-slow lowest ray faults lint format settings report docs clean

help:  # what there is (this list)
	@sed -n 's/^\([a-z-]*\):[^#]*# *\(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

reproduce: .venv/ready  # SWAG's Figure 3 and its pictures, in some 10 minutes, and the environment first; results/
	$(BIN)/python experiments/measure_activations.py -m experiment=fig3_pretrained
	$(BIN)/python experiments/measure_activations.py -m experiment=fig3 weights.seed=0,1,2
	$(BIN)/python experiments/stylize.py -m experiment=headline
	$(BIN)/swag collect
	$(BIN)/swag figure fig3 weights.seed=0,1,2
	$(BIN)/swag figure fig3_pretrained
	$(BIN)/swag figure headline
	@echo
	@echo "SWAG's pictures and its Figure 3, computed on this machine:"
	@echo "  results/headline/headline.png     look here first: a pretrained ResNet-50 with eq. 2, with SWAG (T = peak/2), with even shares"
	@echo "  results/fig3/fig3.png, .pdf       Figure 3, random networks: solid lines are networks, dashed ones the same with SWAG"
	@echo "  results/fig3_pretrained/          the same of pretrained networks"
	@echo "  results/table.parquet, .csv       every measured number; runs.parquet: every run with its settings"
	@echo "The README says what to see in them, and what we found. With your own pictures:"
	@echo "  source .venv/bin/activate"
	@echo "  swag stylize content=photo.jpg style=painting.jpg images.size=512"

claims: .venv/ready  # which statements of the papers hold; resumable: finished runs are skipped
	$(BIN)/swag claims --commands > .venv/claims.sh
	PATH="$(abspath $(BIN)):$$PATH" bash -e .venv/claims.sh
	$(BIN)/swag claims

test: .venv/ready  # the fast tests, in minutes
	$(BIN)/pytest -n auto --dist worksteal -m "not slow"

test-slow: .venv/ready  # every experiment, network and launcher; processes that are killed; faults; clusters, if they are there
	$(BIN)/pytest -n auto --dist worksteal -m slow

lowest: .venv-lowest/ready  # the fast tests with the lowest versions that pyproject.toml allows, in an environment of their own
	.venv-lowest/bin/pytest -n auto --dist worksteal -m "not slow" -W ignore::DeprecationWarning -W ignore::FutureWarning

ray: .venv-ray/ready  # an environment for hydra/launcher=ray, which wants an older library than SLURM's launcher does

faults: .venv/ready  # over a hundred kills, full disks and damaged files; some minutes
	$(BIN)/python -m tests.faults

lint: .venv/ready  # ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/ready  # ruff's formatting
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

settings: .venv/ready  # docs/settings.md, from the comments of conf/
	$(BIN)/python -m experiments.help > docs/settings.md

report: .venv/ready  # docs/report, the findings as pages, from README, conf/claims and analysis/reference
	$(BIN)/swag report --reference --results docs

docs: .venv/ready  # the documentation as a site, .site/index.html, which opens without a server; warnings and broken links are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --config-file .mkdocs.yml

clean:  # remove environments and caches; outputs/ and results/ stay
	rm -rf .venv .venv-ray .venv-lowest .site .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +
	@echo "outputs/ and results/ are kept: they are yours."

.venv-ray/ready: requirements-ray.lock .venv/ready
	$(BIN)/python -m venv .venv-ray
	.venv-ray/bin/pip install --quiet --no-deps --require-hashes -r requirements-ray.lock
	@# All else is that of .venv, behind what lies here.
	$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
		> $$(.venv-ray/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/swag-repro.pth
	touch $@

.venv-lowest/ready: pyproject.toml .venv/ready
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-lowest
	$(BIN)/uv pip compile --quiet --resolution lowest-direct --python $(BIN)/python $(addprefix --extra ,$(EXTRAS)) pyproject.toml -o .venv-lowest/versions
	@# Tools for tests are as new as they are.
	$(BIN)/uv pip install --quiet --python .venv-lowest --constraints .venv-lowest/versions -r .venv-lowest/versions -e '.[dev]'
	touch $@

.venv/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c $(SUPPORTED)
	$(PYTHON) -m venv .venv
	@echo "Installing (torch with its libraries takes some minutes and some 5 GB) ..."
	$(BIN)/pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	touch $@
