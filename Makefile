# Everything a checkout needs comes from `make`; each target installs what it uses, once.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)

MODULE := backstage-actions/scaffolder-module
MODULE_NAME := backstage-plugin-scaffolder-backend-module-argo-bridge
EXAMPLE := examples/backstage
AUDIT := .run/audit
KUBE := .run/kube/bin
IMAGE := .run/image
PROMETHEUS := .run/prometheus
NPM_CI := npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
MODULE_SOURCES := $(shell find $(MODULE)/src -name '*.ts' 2>/dev/null) $(MODULE)/package.json $(MODULE)/tsconfig.build.json
APP_SOURCES := $(shell find $(EXAMPLE)/packages/app/src $(EXAMPLE)/packages/app/public -type f 2>/dev/null)

.PHONY: help setup demo demo-stop image image-demo test test-fast test-ts test-e2e check lint types contracts bench chaos fuzz injection audit lock chromium postgres prometheus kube deploy-check coverage clean

help: ## this list
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# --- what is installed ---------------------------------------------------------------------
.venv/bin/python:
	@echo "· making a virtual environment"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=…" >&2; exit 1; }
	@$(PYTHON) -m venv .venv

.venv/.demo: requirements/demo.txt | .venv/bin/python
	@echo "· installing the bridge's Python packages and Node"
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

.venv/.dev: requirements/dev.txt pyproject.toml | .venv/bin/python
	@echo "· installing Python packages for development, and Node"
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@ .venv/.demo

tests/seed/node_modules/.installed: tests/seed/package-lock.json | .venv/.demo
	@cd tests/seed && $(NPM_CI)
	@touch $@

$(AUDIT)/tools/.installed: requirements/audit.txt
	@echo "· installing the tools of the audit, apart from the bridge's own packages"
	@$(PYTHON) -m venv $(AUDIT)/tools
	@$(AUDIT)/tools/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

setup: .venv/.dev postgres prometheus ## install everything for work on the bridge

$(MODULE)/node_modules/.installed: $(MODULE)/package-lock.json | .venv/.demo
	@echo "· installing the scaffolder module's packages"
	@cd $(MODULE) && $(NPM_CI)
	@touch $@

$(MODULE)/dist/.built: $(MODULE)/node_modules/.installed $(MODULE_SOURCES)
	@echo "· building the scaffolder module"
	@cd $(MODULE) && npm run --silent build
	@touch $@

$(EXAMPLE)/node_modules/.installed: $(EXAMPLE)/package-lock.json | .venv/.demo
	@echo "· installing the example Backstage (about 1,500 packages)"
	@cd $(EXAMPLE) && $(NPM_CI)
	@touch $@

$(EXAMPLE)/node_modules/.module: $(EXAMPLE)/node_modules/.installed $(MODULE_SOURCES) $(EXAMPLE)/tsconfig.module.json
	@echo "· building the scaffolder module into it"
	@rm -rf $(EXAMPLE)/node_modules/$(MODULE_NAME)/dist
	@cp $(MODULE)/package.json $(MODULE)/config.schema.json $(EXAMPLE)/node_modules/$(MODULE_NAME)/
	@cd $(EXAMPLE) && node_modules/.bin/tsc -p tsconfig.module.json
	@touch $@

$(EXAMPLE)/packages/app/dist/.built: $(EXAMPLE)/node_modules/.module $(APP_SOURCES)
	@echo "· building the Backstage UI"
	@cd $(EXAMPLE) && npm run --silent build > /dev/null
	@touch $@

chromium: ## install Chromium from Debian if there is none
	@command -v chromium > /dev/null || { \
	  echo "· installing Chromium"; \
	  sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  $$sudo apt-get update -qq && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core > /dev/null; }

postgres: ## install PostgreSQL from Debian if there is none
	@ls /usr/lib/postgresql/*/bin/postgres > /dev/null 2>&1 || { \
	  echo "· installing PostgreSQL"; \
	  sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  $$sudo apt-get update -qq && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql > /dev/null; }

prometheus: ## get Prometheus and promtool from Debian if there are none; nothing is installed or started
	@{ command -v prometheus && command -v promtool; } > /dev/null || [ -x $(PROMETHEUS)/usr/bin/promtool ] || { \
	  echo "· getting Prometheus"; \
	  sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); mkdir -p $(PROMETHEUS); cd $(PROMETHEUS); \
	  $$sudo apt-get update -qq && apt-get download -qq -o APT::Sandbox::User="$$(id -un)" prometheus; \
	  dpkg-deb --extract prometheus_*.deb . && rm prometheus_*.deb; }

kube: ## get etcd from Debian and build kube-apiserver and kube-controller-manager if there are none
	@deploy/check/kube/build $(KUBE)

# --- use ---------------------------------------------------------------------------------------
demo: .venv/.demo $(EXAMPLE)/packages/app/dist/.built ## a real Backstage, the bridge and an embedded Argo; EXIT=1 ends with a verdict
	@.venv/bin/python $(EXAMPLE)/demo.py $(if $(EXIT),--exit)

demo-stop: ## stop what `make demo` left running
	@.venv/bin/python $(EXAMPLE)/demo.py --stop

image: .venv/.demo ## the bridge's image without Docker: its root file system, an archive of it, and their sizes
	@sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); mkdir -p $(IMAGE); \
	  $$sudo .venv/bin/python deploy/image/image_build.py $(IMAGE)/root --archive $(IMAGE)/root.tar.gz

image-demo: image $(EXAMPLE)/packages/app/dist/.built ## the demo with the bridge in that image: uid 1001, read-only; EXIT=1 ends with a verdict
	@sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  $$sudo env "PATH=$$PATH" .venv/bin/python $(EXAMPLE)/demo.py --image $(IMAGE)/root $(if $(EXIT),--exit)

# --- tests ---------------------------------------------------------------------------------------
test: .venv/.dev chromium postgres prometheus test-ts tests/seed/node_modules/.installed $(EXAMPLE)/packages/app/dist/.built ## everything: Python, TypeScript, the real Backstage, the browser
	@rm -f .coverage .coverage.*
	@.venv/bin/python -m coverage run -m pytest -q -n 3 -m "not e2e and not cluster and not mass"
	@.venv/bin/python -m pytest -q -n 2 -m mass
	@.venv/bin/python -m coverage run -m pytest -q -m e2e
	@$(MAKE) --no-print-directory coverage

coverage: .venv/.dev
	@.venv/bin/python -m coverage combine -q
	@.venv/bin/python -m coverage report --include='bridge/domain/*' --fail-under=100 > /dev/null || { .venv/bin/python -m coverage report --include='bridge/domain/*'; exit 1; }
	@.venv/bin/python -m coverage report --fail-under=90

test-fast: .venv/.dev postgres prometheus ## Python without Backstage and the browser
	@.venv/bin/python -m pytest -q -n 2 -m "not e2e and not cluster"

test-ts: postgres $(MODULE)/dist/.built ## the scaffolder module
	@cd $(MODULE) && npm run --silent test

test-e2e: .venv/.dev chromium tests/seed/node_modules/.installed $(EXAMPLE)/packages/app/dist/.built ## the real Backstage and the browser
	@.venv/bin/python -m pytest -q -m e2e

# --- checks ---------------------------------------------------------------------------------------
check: lint types contracts ## all static checks

lint: .venv/.dev $(MODULE)/node_modules/.installed
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/interrogate -q tests
	@cd $(MODULE) && npm run --silent lint

types: .venv/.dev
	@.venv/bin/mypy

contracts: .venv/.dev
	@.venv/bin/lint-imports --no-cache

bench: .venv/.dev postgres ## measurements, each beside its target
	@.venv/bin/python -m tests.bench

chaos: .venv/.dev postgres ## kill replicas at random points; SEED= replays, KILLS= how many, STORE= which
	@.venv/bin/python -m tests.crash

fuzz: .venv/.dev ## requests drawn from the OpenAPI document; REQUESTS= how many, SEED= draws the same again
	@.venv/bin/python -m tests.fuzz $(if $(REQUESTS),--requests $(REQUESTS)) $(if $(SEED),--seed $(SEED))

injection: .venv/.dev ## hostile values through a form to Argo; ARGO= its address takes a real one, whose objects kubectl reads
	@INJECTION_ARGO_URL="$(ARGO)" .venv/bin/python -m pytest -q tests/injection

deploy-check: .venv/.dev kube ## every manifest under deploy/ on a real API server, and the namespace workflow
	@.venv/bin/python -m pytest -q tests/cluster tests/deploy/test_builds.py tests/deploy/test_network.py

audit: .venv/.dev $(AUDIT)/tools/.installed ## known vulnerabilities, and CycloneDX bills of materials; STRICT=1 also fails on what cannot be looked up
	@.venv/bin/python -m tests.supply --tools $(AUDIT)/tools/bin --out $(AUDIT) $(if $(STRICT),--strict)

lock: ## compile requirements/*.txt again, without addresses
	@$(PYTHON) -m venv .venv-lock && .venv-lock/bin/pip install --quiet uv
	@for set in runtime tracing demo dev audit; do .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
	  requirements/$$set.in -o requirements/$$set.txt; done
	@rm -rf .venv-lock

clean: ## remove everything that make installed or built
	@rm -rf .venv .run $(MODULE)/node_modules $(MODULE)/dist tests/seed/node_modules $(EXAMPLE)/node_modules $(EXAMPLE)/packages/app/dist
