# slipway.mlops: `make help` lists what there is.
SHELL := /bin/bash
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13,$(if $(shell command -v $(p)),$(p))))
BIN := $(CURDIR)/.venv/bin
export PATH := $(BIN):$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg

.DEFAULT_GOAL := help
.PHONY: help venv lab lab-status lab-down lint types test-unit

help:  ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: .venv/.stamp  ## the virtual environment with everything that development needs
.venv/.stamp: requirements.txt requirements-dev.txt
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

lab: venv  ## a real Kubernetes on this machine (first time about 20 minutes)
	lab/lab up
lab-status: venv  ## what runs in the lab
	lab/lab status
lab-down: venv  ## end the lab and leave nothing behind
	lab/lab down

lint: venv  ## ruff, ansible-lint (production profile)
	ruff check .
	ansible-lint --offline

types: venv  ## mypy --strict over the shared code
	mypy

test-unit: venv  ## the pure layers and contracts, in seconds
	pytest tests/unit -q
