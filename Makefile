# slipway.mlops: `make help` lists what there is.
SHELL := /bin/bash
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3,$(shell command -v $(p))))
BIN := $(CURDIR)/.venv/bin
export PATH := $(BIN):$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export MOLECULE_GLOB := molecule/*/molecule.yml
INVENTORY ?= inventories/lab
# The newest ansible-core wants a newer Python than Debian 12 has; pyenv's are looked at, too.
PYTHON_NEXT ?= $(shell for p in python3.13 python3.12 $(HOME)/.pyenv/versions/3.1[23].*/bin/python; do "$$p" -c '' 2>/dev/null && echo "$$p" && break; done)

.DEFAULT_GOAL := help
.PHONY: browser help venv demo lab lab-status lab-down lint types test-unit sanity test-next molecule integration test test-long bench docs build

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: .venv/.stamp ## the virtual environment with everything that development needs
.venv/.stamp: requirements-dev.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "Python 3.11 or newer is missing: apt-get install python3 python3-venv on Debian 12; PYTHON=... names one of another place"; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

# With KUBECONFIG and INVENTORY the platform goes to a cluster of yours and no lab is made. An exported KUBECONFIG alone means nothing: an admin's shell
# has one, and the lab's inventory is not for that cluster.
demo: venv ## the whole platform on the lab, or on your cluster: KUBECONFIG=... INVENTORY=...
ifneq ($(INVENTORY),inventories/lab)
	@test -n "$(KUBECONFIG)" || { echo "INVENTORY=$(INVENTORY) is not the lab's: name its cluster, too, by KUBECONFIG=..."; exit 1; }
	ansible-playbook site.yml -i $(INVENTORY) -e slipway_kubeconfig=$(abspath $(KUBECONFIG))
else ifeq ($(origin KUBECONFIG),command line)
	@echo "KUBECONFIG=$(KUBECONFIG) is not the lab's: name your hosts, too, by INVENTORY=..."; exit 1
else
	lab/lab up
	ansible-playbook site.yml -i $(INVENTORY)
endif

lab: venv ## a real Kubernetes on this machine (the first time about 20 minutes)
	lab/lab up
lab-status: venv ## what runs in the lab
	lab/lab status
lab-down: venv ## end the lab and leave nothing behind
	lab/lab down

lint: venv ## ruff and ansible-lint (production profile)
	ruff check . && ruff format --check .
	ansible-lint --offline

types: venv ## mypy --strict over the shared code
	mypy

test-unit: venv ## the pure layers and contracts, in seconds
	pytest tests/unit -q -n 2

sanity: venv ## ansible-test sanity
	tests/sanity/run 3.11

test-next: ## unit tests and sanity with the newest ansible-core, where Python 3.12 or 3.13 is at hand
ifeq ($(PYTHON_NEXT),)
	@echo "not run: ansible-core 2.21 needs Python 3.12 or 3.13, and there is none here (PYTHON_NEXT=... names one)"
else
	@test -e .venv-next/.stamp || { $(PYTHON_NEXT) -m venv .venv-next && .venv-next/bin/pip install --quiet --disable-pip-version-check -r requirements-next.txt && touch .venv-next/.stamp; }
	PATH=$(CURDIR)/.venv-next/bin:$$PATH pytest tests/unit -q -n 2
	PATH=$(CURDIR)/.venv-next/bin:$$PATH tests/sanity/run $$(.venv-next/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
endif

molecule: venv ## Molecule scenarios on the lab's hosts
	lab/lab hosts 10
	@# Molecule remembers that hosts were prepared, also when they have been made anew since.
	for scenario in molecule/*/; do molecule reset -s "$$(basename "$$scenario")" || exit; done
	molecule test --all

# The report and Aim's page are looked at in a real browser.
browser:
	@command -v chromium >/dev/null || { apt-get update -q && apt-get install -q -y --no-install-recommends chromium fonts-dejavu-core; }

integration: venv browser ## everything on the lab that is not long
	pytest tests/integration -m "not long"

test: venv ## everything: lint, types, unit, sanity, lab, Molecule, integration
	@tests/step lint $(MAKE) --no-print-directory lint
	@tests/step types $(MAKE) --no-print-directory types
	@tests/step unit $(MAKE) --no-print-directory test-unit
	@tests/step fuzz pytest tests/fuzz -q -n 2
	@tests/step sanity $(MAKE) --no-print-directory sanity
	@# The lab and Molecule wait for machines most of the time; the newest ansible-core is tested meanwhile. No $$(MAKE) here: `make -n` would run the line.
	@tests/step next make --no-print-directory test-next & next=$$!; \
	STEP_SHOW=yes tests/step lab lab/lab up && tests/step molecule make --no-print-directory molecule; done=$$?; wait $$next && exit $$done
	@tests/step browser $(MAKE) --no-print-directory browser
	@STEP_SHOW=yes tests/step integration pytest tests/integration -m "not long" --durations=25

test-long: venv ## boots, upgrades, load, chaos on the lab
	lab/lab up
	FUZZ_EXAMPLES=5000 pytest tests/fuzz -q -n 2
	pytest tests/integration -m long; result=$$?; cp .ci-artifacts/long-tests.json docs/ && python docs/generate.py; exit $$result

bench: venv ## side by side with kubernetes.core, kubectl, helm, ansible.posix (bench/results/)
	lab/lab up
	bench/run

docs: venv ## role pages, README tables and the documentation site in docs/build
	python docs/generate.py
	docs/build.sh

build: venv ## the collection as a file for ansible-galaxy
	ansible-galaxy collection build --force
