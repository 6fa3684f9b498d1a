# RaftMetrics: what there is to run. `make help` lists it. A machine needs Go 1.26 and a C++ compiler.
GO ?= go
GOLANGCI = $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
COVER_MIN = 90

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

.PHONY: build
build: ## build bin/raftmetrics
	$(GO) build -o bin/raftmetrics .

.PHONY: run
run: build ## build and start a single node on :8080 with its data in ./data
	@printf '%s\n' '' \
	'A single node serves http://localhost:8080 with its data in ./data; Ctrl-C stops it. In another shell:' '' \
	'  AUTH="Authorization: Bearer raftmetrics-dev-token"' \
	'  curl -H "$$AUTH" localhost:8080/health' \
	"  curl -H \"\$$AUTH\" localhost:8080/metrics -d '{\"metric_name\": \"cpu_usage\", \"value\": 75.5}'" \
	'  curl -H "$$AUTH" localhost:8080/metrics/cpu_usage' \
	"  curl -H \"\$$AUTH\" 'localhost:8080/aggregate?metric=cpu_usage&window=1h'" ''
	@exec env PORT=8080 DATA_DIR=./data LOG_FORMAT=text ./bin/raftmetrics

.PHONY: test
test: ## run all tests that need no Docker
	$(GO) test -timeout 20m ./...

.PHONY: test-docker
test-docker: ## build the image, start the three containers and break each of them (needs a container engine)
	tests/docker/standin-images.sh
	RAFTMETRICS_DOCKER=1 $(GO) test -count=1 -timeout 30m -v ./tests/docker

.PHONY: demo
demo: build ## load real cloud metrics into a temporary node and print aggregates
	$(GO) run ./tests/demo

.PHONY: bench
bench: build ## measure one node and three: writes one by one and in batches, loads, questions, starts
	$(GO) run ./tests/bench

PEER = bin/victoria-metrics
$(PEER):
	GOBIN=$(CURDIR)/bin $(GO) install github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics@v1.150.0

.PHONY: bench-peers
bench-peers: build $(PEER) ## load and ask VictoriaMetrics the same in the same run, and print the ratios
	$(GO) run ./tests/bench -only engine -peer $(PEER) -loads 5

.PHONY: lint
lint: ## run golangci-lint over everything
	$(GOLANGCI) run ./...

# The race detector makes code ten times slower, so it gets the packages that make goroutines.
RACE = ./application/... ./adapters/... ./bootstrap/... ./tests/contract/...
.PHONY: race
race: ## run the tests of concurrent packages under the race detector
	$(GO) test -race -short -timeout 20m $(RACE)

.PHONY: generate
generate: ## write the generated mocks of all ports, and the code of worker.proto (needs protoc), anew
	$(GO) generate ./ports/...
	@if command -v protoc >/dev/null; then $(GO) generate ./adapters/workerrpc/...; else \
	echo "protoc (package protobuf-compiler) is not installed: the code of worker.proto was left as it is"; fi

.PHONY: check-generated
check-generated: ## fail when the committed mocks and code differ from what ports and worker.proto give
	@before=$$(mktemp -d) && trap 'rm -rf "$$before"' EXIT && cp -r tests/mocks adapters/workerrpc/workerpb "$$before" && \
	$(MAKE) --no-print-directory generate && diff -r "$$before/mocks" tests/mocks && \
	diff -r "$$before/workerpb" adapters/workerrpc/workerpb && echo "generated code is up to date"

.PHONY: cover
cover: ## fail when the tests reach less than 90 % of domain and application
	@mkdir -p bin
	$(GO) test -timeout 20m -coverpkg=./domain/...,./application/... -coverprofile=bin/cover.out ./domain/... ./application/...
	@$(GO) tool cover -func=bin/cover.out | awk -v min=$(COVER_MIN) '/^total:/ { \
		sub("%", "", $$3); printf "coverage of domain and application: %s %% (at least %d %%)\n", $$3, min; exit $$3 + 0 < min }'
