# Each target has a one-line description: `make help`.
SHELL := /bin/bash
TARGET := $(or $(CARGO_TARGET_DIR),target)
BIN := $(abspath $(TARGET)/release)
VENVS := $(abspath target/venvs)
PREFIX ?= /opt/amore
# Debian suite of the test cluster: bookworm (Slurm 22.05), trixie (24.11), sid (26.05).
export SUITE ?= bookworm
CLUSTER_TREE := $(abspath target/cluster/amore)
SOAK_TREE := $(abspath target/cluster/soak)
# CMake (for HDF5) comes from PyPI; Debian's is too old.
export PATH := $(VENVS)/tools/bin:$(abspath target/tools/bin):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help build examples demo check test test-parts test-rust simulate simulate-faults soak soak-tenth test-python test-peer lint bench install clean slurm-cluster-up slurm-cluster-shell slurm-cluster-down slurm-tree slurm-test

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build amore and amore-worker into target/release/, and the Python package's native extension
	@scripts/setup.sh build
	cargo build --release --locked --workspace
	@install -m 755 $(BIN)/lib_core.so context/damnit_ctx/_core.abi3.so
	@ln -sf amore $(BIN)/amore-proto && ln -sf amore $(BIN)/damnit

# --workspace reuses the libraries of `build`; -p would compile them again with other features.
examples: build ## Build helper programs for tests and benchmarks into target/release/examples/
	cargo build --release --locked --workspace --examples

demo: build ## Write a proposal in the EuXFEL format, process 20 runs, show the table, and let three more arrive
	@scripts/setup.sh demo
	@PATH="$(BIN):$(VENVS)/demo/bin:$$PATH" ROOT="$(abspath target/demo)" demo/run.sh

check: ## Check what takes less than a minute once it is built: format, lints, directions, documents, libraries' tests
	@scripts/setup.sh build
	cargo fmt --all --check
	scripts/check-directions.py
	scripts/check-documents.py
	cargo clippy --release --locked --workspace -- -D warnings
	cargo test --release --locked --workspace --lib --test plan --quiet
	cargo test --release --locked -p amore-core -p amore-wire --test it --test messages --quiet

TEST_PARTS := lint test-rust simulate simulate-faults test-peer soak-tenth test-python
test: $(TEST_PARTS) ## Run all tests and checks

# For CI, which runs them one by one.
test-parts:
	@echo $(TEST_PARTS)

test-rust: build ## Run the Rust tests
	@scripts/setup.sh postgres
	cargo test --release --locked --workspace

simulate: ## Play scenarios of the coordinator in a simulated world (SEEDS=2000; SEED=x: one of them, with its story)
	@scripts/setup.sh build
	cargo build --release --locked --workspace --example simulate
	"$(BIN)/examples/simulate" $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),2000))

# A build of its own: no other one has the faults in it.
simulate-faults: ## Switch on planted faults one by one, and show how many scenarios it takes to find each
	cargo build --release --locked -p amore-simulation --features planted-faults --example simulate --target-dir "$(TARGET)/planted"
	"$(TARGET)/planted/release/examples/simulate" --faults --seeds $(or $(SEEDS),5000)

# SCALE=1: 20 proposals and 600 runs. A tree of its own: that of other tests may be in use.
soak: build ## Let runs arrive in a cluster while processes are killed (SCALE=1 MINUTES=15 SEED=1)
	@scripts/setup.sh test
	@scripts/install.sh "$(BIN)" "$(SOAK_TREE)"
	PYTHONPATH=slurm-tests:tests $(VENVS)/test/bin/python tests/soak/soak.py "$(SOAK_TREE)" --scale $(or $(SCALE),1) --minutes $(or $(MINUTES),15) --seed $(or $(SEED),1) --report "$(abspath $(TARGET))/soak.json"

soak-tenth: ## A tenth of the soak
	@$(MAKE) --no-print-directory soak SCALE=0.1 MINUTES=1.5

test-python: examples ## Run the tests of the Python package and the end-to-end tests
	@scripts/setup.sh demo
	@scripts/setup.sh peer
	@scripts/setup.sh test
	@scripts/setup.sh postgres
	scripts/test-python.sh

test-peer: examples ## Run the tests that compare with DAMNIT 0.4.0 and read our files with it
	@scripts/setup.sh peer
	@scripts/setup.sh test
	AMORE_PEER_PYTHON="$(VENVS)/peer/bin/python" AMORE_BIN_DIR="$(BIN)" $(VENVS)/test/bin/python -m pytest -q -n 2 --dist loadfile tests/peer tests/table tests/real
	AMORE_PEER_PYTHON="$(VENVS)/peer/bin/python" $(VENVS)/peer/bin/python -m pytest -q tests/files

lint: build ## Check formatting, lints, dependencies and their advisories, dependency directions, documents, and the commands in them
	@scripts/setup.sh lint
	cargo fmt --all --check
	cargo clippy --release --locked --workspace --all-targets -- -D warnings
	cargo deny --locked check bans licenses sources
	scripts/check-advisories.sh
	$(VENVS)/lint/bin/ruff check context demo tests bench slurm-tests scripts
	$(VENVS)/lint/bin/mypy --config-file context/pyproject.toml context/damnit_ctx
	scripts/check-directions.py
	scripts/check-documents.py
	@scripts/setup.sh test
	AMORE_BIN_DIR="$(BIN)" $(VENVS)/test/bin/python -m pytest -q tests/documents

bench: examples ## Run benchmarks against DAMNIT 0.4.0 (ONLY=name: only one, QUICK=1: a short trial); writes target/bench/report.json
	@scripts/setup.sh demo
	@scripts/setup.sh peer
	PATH="$(BIN):$$PATH" AMORE_PEER_PYTHON="$(VENVS)/peer/bin/python" $(VENVS)/demo/bin/python bench/run.py $(if $(ONLY),--only $(ONLY)) $(if $(QUICK),--quick)

install: build ## Install a relocatable tree with a modulefile below PREFIX (default /opt/amore)
	scripts/install.sh "$(BIN)" "$(PREFIX)"

slurm-cluster-up: slurm-tree ## Start a three-node Slurm cluster in containers, with Amore installed (SUITE=bookworm|trixie|sid)
	@AMORE_INSTALL_DIR="$(CLUSTER_TREE)" slurm-tests/cluster/up.sh $(SUITE)

slurm-cluster-shell: ## Open a shell on that cluster, in a proposal with three runs
	@slurm-tests/cluster/shell.sh $(SUITE)

slurm-cluster-down: ## Remove the containers started by slurm-cluster-up
	@slurm-tests/cluster/down.sh $(SUITE)

# The product as it is mounted into the containers.
slurm-tree: build
	@scripts/setup.sh test
	@scripts/install.sh "$(BIN)" "$(CLUSTER_TREE)"

slurm-test: slurm-tree ## Start a Slurm cluster and run the tests on it (ARGS=… for pytest)
	@PYTEST="$(VENVS)/test/bin/python" slurm-tests/run.sh "$(CLUSTER_TREE)" -q $(ARGS)

clean: ## Remove all build products
	rm -rf target context/damnit_ctx/_core.abi3.so context/damnit_ctx/_vendor
