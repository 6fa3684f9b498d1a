# RaftMetrics: what there is to run. `make help` lists it.
GO ?= go
GOLANGCI = $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

.PHONY: generate
generate: ## write the generated mocks of all ports anew
	$(GO) generate ./ports/...

.PHONY: lint
lint: ## run golangci-lint over everything
	$(GOLANGCI) run ./...
