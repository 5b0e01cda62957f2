# Rekindle. "make" or "make help" lists the targets.

LAB_DIR ?= /var/tmp/rekindle-lab
LAB_PORT ?= 16443
VM_DIR ?= /var/tmp/rekindle-vm
VM_PORT ?= 16700
REKINDLE_CACHE ?= $(or $(XDG_CACHE_HOME),$(or $(HOME),/root)/.cache)/rekindle
PREFIX ?= /usr/local
DESTDIR ?=
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
export LAB_DIR LAB_PORT VM_DIR VM_PORT REKINDLE_CACHE PREFIX DESTDIR

LDFLAGS := -s -w -X main.version=$(VERSION)

.DEFAULT_GOAL := help
.PHONY: help build test-programs demo test lint unit e2e soak bench lab-up lab-down lab-env vm-up vm-test vm-down install uninstall generate reference clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo '  LAB_DIR, LAB_PORT and REKINDLE_CACHE say where the lab lives, on which port'
	@echo '  its API server listens, and where what it builds is kept.'

build: ## Build the four programs into bin/
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

# Clients, forgers and clocks of the suites; see test/lab and bench.
test-programs:
	@mkdir -p bin/test
	CGO_ENABLED=0 go build -buildvcs=false -o bin/test/ ./test/lab/forge ./bench/bare ./bench/clock
	cd test/lab/workloads && CGO_ENABLED=0 go build -buildvcs=false -o $(CURDIR)/bin/test/ ./visitor

demo: build ## Show the story on a small real node, with numbers (root)
	@scripts/demo.sh

test: ## Run everything: lint, unit tests, end-to-end suites, a few in a VM (root)
	@scripts/test.sh lint vet unit e2e vm

lint: ## Check the sources: golangci-lint, shellcheck, shfmt, ruby -c
	@scripts/test.sh lint

unit: ## Run the unit tests with the race detector
	@scripts/test.sh unit

e2e: ## Run the bats suites against a lab of their own (root)
	@scripts/test.sh e2e

soak: build ## Kill and break things at random for SOAK_SECONDS (600); SOAK_SEED repeats (root)
	@scripts/soak.sh

bench: build ## Measure, print a table, and record it in bench/results (root)
	@scripts/bench.sh

lab-up: build ## Bring up a one-node cluster in LAB_DIR (root)
	@test/lab/up.sh cluster

lab-down: ## Take it down; nothing is left behind (root)
	@test/lab/down.sh

lab-env: ## Print the path of the file to source for using it
	@echo '$(LAB_DIR)/env'

vm-up: build ## Boot a virtual machine with systemd and cgroup v2, in VM_DIR (root)
	@test/vm/up.sh

vm-test: build test-programs ## Run the bats suites in it; SUITES, KEEP_VM (root)
	@test/vm/test.sh

vm-down: ## Take it away; its image stays in the cache (root)
	@test/vm/down.sh

install: build ## Install below $(DESTDIR)$(PREFIX) and /etc (root)
	@scripts/install.sh

uninstall: ## Remove what install put there; checkpoints stay (root)
	@scripts/uninstall.sh

reference: ## Generate docs/reference.md from the code
	go test ./docs -run TestReferenceIsUpToDate -update

# protoc itself is the distribution's (package protobuf-compiler); its plugins
# are of the versions in go.mod.
generate: ## Generate the code of api/ from its .proto files, then the reference
	GOBIN=$(CURDIR)/bin/generate go install \
	  google.golang.org/protobuf/cmd/protoc-gen-go github.com/containerd/ttrpc/cmd/protoc-gen-go-ttrpc
	cd api && PATH=$(CURDIR)/bin/generate:$$PATH protoc \
	  --go_out=. --go_opt=paths=source_relative \
	  --go-ttrpc_out=. --go-ttrpc_opt=paths=source_relative *.proto
	$(MAKE) --no-print-directory reference

clean: ## Remove bin/; the lab's cache stays
	rm -rf bin
