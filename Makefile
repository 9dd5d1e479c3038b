# Every target is one line of `make help`.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO      ?= go
BIN     := bin/gantry
# What `go test` runs, and with which flags: make test PKGS=./internal/kit/... TESTFLAGS=-v
PKGS      ?= ./...
TESTFLAGS ?=
# make test RACE=1 adds the race detector.
RACE      ?=
FUZZTIME  ?= 20s
RELEASE   ?=
BENCHFLAGS ?=
# Where `make bench-data` keeps its databases, and at which size: 1 is 1,000,000 sessions.
BENCHDATA  ?= $(or $(TMPDIR),/tmp)/gantry-bench-data
BENCHSCALE ?= 1

LINT        := $(GO) tool -modfile=tools/go.mod golangci-lint
TEMPL       := $(GO) tool -modfile=tools/templ.mod templ generate -log-level error
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.8.0
BUILDFLAGS  := -trimpath -ldflags '-X main.release=$(RELEASE)'

# A version's document is emitted once the program has the version.
OPENAPI := v1 v2 v3 gantry
# The console's pages, each of which becomes Go beside it.
PAGES := $(wildcard internal/console/*.templ)
# A component is a function around a large closure: inlined, the closure would be copied into each caller.
PAGE   = $(TEMPL) -f $$f -stdout | sed 's|^func .* templ\.Component {$$|//go:noinline\n&|'

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/gantry, without cgo
	CGO_ENABLED=0 $(GO) build $(BUILDFLAGS) -o $(BIN) ./cmd/gantry

.PHONY: demo
demo: build ## Watch a session work on this repository, from queue to result
	scripts/demo.sh

.PHONY: test
test: ## Run every test, with PostgreSQL, bubblewrap and git (installed where that is allowed)
	RACE=$(RACE) scripts/test.sh $(TESTFLAGS) $(PKGS)

.PHONY: test-short
test-short: ## Run the tests that need neither PostgreSQL nor patience
	$(GO) test -short $(TESTFLAGS) $(PKGS)

.PHONY: lint
lint: ## Vet and lint
	$(GO) vet ./...
	$(LINT) run --allow-parallel-runners ./...

.PHONY: fmt
fmt: ## Format the code
	$(LINT) fmt ./...

.PHONY: generate
generate: pages openapi ## Write everything that is generated

.PHONY: pages
pages: ## Write internal/console/*_templ.go
	@for f in $(PAGES); do $(PAGE) >$${f%.templ}_templ.go.new && mv $${f%.templ}_templ.go.new $${f%.templ}_templ.go; done

.PHONY: openapi
openapi: build ## Write api/openapi-*.json
	@mkdir -p api
	@for v in $(OPENAPI); do $(BIN) openapi $$v >api/openapi-$$v.json.new && mv api/openapi-$$v.json.new api/openapi-$$v.json; done

.PHONY: check-generated
check-generated: build ## Fail when a generated file isn't what would be generated
	@for v in $(OPENAPI); do \
		diff -u --label api/openapi-$$v.json --label generated api/openapi-$$v.json <($(BIN) openapi $$v) | head -n 40 || \
			{ echo "api/openapi-$$v.json is not up to date: make generate" >&2; exit 1; }; \
	done
	@for f in $(PAGES); do \
		diff -u --label $${f%.templ}_templ.go --label generated $${f%.templ}_templ.go <($(PAGE)) | head -n 40 || \
			{ echo "$${f%.templ}_templ.go is not up to date: make generate" >&2; exit 1; }; \
	done

.PHONY: bench
bench: ## Print each figure of docs/performance.md as a ratio (BENCHFLAGS='-quick -only self', '-o docs/performance.md', '-profile DIR')
	$(GO) run ./bench -data $(BENCHDATA) -scale $(BENCHSCALE) $(BENCHFLAGS)

.PHONY: bench-data
bench-data: ## Load a year of a large deployment, and a hundredth of it, for the lists of `make bench` (BENCHFLAGS='-database URL' for one of yours)
	$(GO) run ./bench -load -data $(BENCHDATA) -scale $(BENCHSCALE) $(or $(BENCHFLAGS),-engine sqlite)

.PHONY: fuzz
fuzz: ## Run every fuzz test for FUZZTIME
	FUZZTIME=$(FUZZTIME) scripts/fuzz.sh

.PHONY: govulncheck
govulncheck: ## Look for known vulnerabilities (needs its database on the network)
	$(GO) run $(GOVULNCHECK) ./...

.PHONY: clean
clean: ## Take away what was built
	rm -rf bin dist coverage.out
