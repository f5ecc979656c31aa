# Cloister: see README.md. `make help` lists the targets.
SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
GO          ?= go
FUZZTIME    ?= 30s
DIFFOPS     ?= 10000000
DIFFSEED    ?= $(shell date +%s)
RACE_PKGS   ?= ./...
BIN         := bin
STATICCHECK := $(GO) tool -modfile=tools/go.mod staticcheck

.DEFAULT_GOAL := help
.PHONY: help build run test race e2e crash fuzz fuzz-diff bench bench-sefs bench-gvisor bench-peers cover lint ci enclave clean

help: ## show this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build the commands into bin/
	@mkdir -p $(BIN)
	$(GO) build -o $(BIN)/ ./cmd/cloister ./harness

run: build ## the guided tour: build an image, mount it in an enclave and through FUSE
	@examples/tour/tour.sh

test: ## vet and all tests; needs only Go and a C compiler
	$(GO) vet ./...
	$(GO) test ./...

race: ## all tests with the race detector
	$(GO) test -race $(RACE_PKGS)

e2e: ## the whole stack over the Go source tree (as root also through FUSE)
	CLOISTER_E2E=full $(GO) test -count=1 -v -timeout 60m ./e2e/...

crash: ## the long runs: a million crash images, ten thousand kills, all damages, ten million nonces
	CLOISTER_CRASH=full $(GO) test -count=1 -p 1 -v -timeout 180m -run 'Crash|Tamper|Kill|Fault|HostErrors|Nonce|Interrupted|Golden|HostSees|LookAlike' \
	  ./fs/sefs ./fs/sefs/internal/store ./fs/sefs/internal/volume ./e2e

fuzz: ## every fuzz target for FUZZTIME (default 30s) each
	@for p in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
	    echo "== $$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$p; \
	  done; done

fuzz-diff: ## DIFFOPS random calls on each file system beside the kernel (seed DIFFSEED); needs root
	$(GO) test -count=1 -v -timeout 180m -run 'Ramfs|Sefs|Unionfs|HostfsOnTmpfs' ./e2e/difftest -ops $(DIFFOPS) -seed $(DIFFSEED)

bench: ## benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./...

bench-sefs: ## the figures that the storage engine is held to; SEFS_FIGURES=full: with 10 million files
	$(GO) test -run '^$$' -bench Figure -benchtime 1x -timeout 30m ./fs/sefs/...

bench-gvisor: ## path walks beside those of gVisor's VFS, in one binary
	cd bench/gvisor && $(GO) test -run '^$$' -bench . -benchmem .

bench-peers: build ## SEFS through FUSE beside gocryptfs, securefs and fuse-overlayfs; needs root
	cd bench/peers && $(GO) run . -cloister $(CURDIR)/$(BIN)/cloister

cover: ## coverage of the whole module in cover.out
	$(GO) test -coverpkg=./... -coverprofile=cover.out ./...
	$(GO) tool cover -func=cover.out | tail -n 1

lint: ## gofmt, go vet, staticcheck, go mod tidy
	@out=$$(gofmt -l .); if [ -n "$$out" ]; then echo "gofmt needed:"; echo "$$out"; exit 1; fi
	$(GO) vet ./...
	$(STATICCHECK) ./...
	$(GO) mod tidy -diff

ci: lint test race ## what has to pass before a change lands

enclave: ## build and sign the in-enclave example with EGo's tools
	@if ! command -v ego-go >/dev/null || ! command -v ego >/dev/null; then \
	  echo "make enclave: EGo's tools ego-go and ego are not installed; see https://docs.edgeless.systems/ego for how to install them." >&2; exit 1; fi
	ego-go build -tags ego -o examples/inenclave/inenclave ./examples/inenclave
	ego sign enclave.json

clean: ## remove what was built
	rm -rf $(BIN) build cover.out examples/inenclave/inenclave
