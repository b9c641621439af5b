# make run   builds nodetune and raises this machine's limits (the main job)
# make test  installs what the tests need and runs all of them; CI runs this

GO    ?= go
TOOL  := $(GO) tool -modfile=.ci/tools/go.mod
SUDO  := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
FUZZTIME ?= 3s

export CGO_ENABLED ?= 0

.PHONY: build run test deps tidy vet lint unit race privileged fuzz cross bench vuln clean

build:
	$(GO) build -trimpath -o bin/nodetune ./cmd/nodetune

run: build
	$(SUDO) bin/nodetune apply

.NOTPARALLEL:

test: deps tidy vet lint race privileged fuzz cross

# Debian packages the tests use as oracles and victims.
deps:
	.ci/deps

tidy:
	$(GO) mod tidy -diff

vet:
	$(GO) vet ./...

lint:
	$(TOOL) golangci-lint run ./...

unit:
	$(GO) test ./...

race:
	CGO_ENABLED=1 $(GO) test -race ./...

# As root, on the real limits of this machine; every setting is put back.
privileged: build
	$(SUDO) env "PATH=$$PATH" NODETUNE_TEST_PRIVILEGED=1 $(GO) test -p 1 -count=1 -timeout 20m ./...

# Every parser for some seconds.
fuzz:
	.ci/fuzz $(FUZZTIME)

cross:
	GOARCH=amd64 $(GO) build -o /dev/null ./cmd/nodetune
	GOARCH=arm64 $(GO) build -o /dev/null ./cmd/nodetune

bench:
	$(GO) test -run '^$$' -bench . -benchmem -count 6 ./... | tee bin/bench.txt
	$(TOOL) benchstat bin/bench.txt

# Needs the vulnerability database, so it is not part of make test.
vuln:
	$(GO) run golang.org/x/vuln/cmd/govulncheck@latest ./...

clean:
	rm -rf bin
