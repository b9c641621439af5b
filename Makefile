# make run   builds nodetune and raises the limits of this machine
# make test  installs what the tests need and runs all tests; CI runs this
# make help  lists all targets

GO    ?= go
TOOL  := $(GO) tool -modfile=.ci/tools/go.mod
SUDO  := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
FUZZTIME ?= 3s

export CGO_ENABLED ?= 0

.PHONY: build run test deps tidy generate generated vet lint unit race privileged fuzz cross plugin bench loss collectors nodes scale attack soak vuln clean image help e2e-tools e2e-image e2e-up e2e-down e2e e2e-lint e2e-test e2e-api e2e-clusters

help: ## List the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | sort | awk -F '\t' '{ printf "%-12s %s\n", $$1, $$2 }'

build: ## Build bin/nodetune
	$(GO) build -trimpath -o bin/nodetune ./cmd/nodetune

run: build ## Build nodetune and raise the limits of this machine
	$(SUDO) bin/nodetune apply

.NOTPARALLEL:

test: ## Install what the tests need and run all tests (about one hour)
	.ci/parts deps tidy generated vet lint race privileged fuzz cross e2e

deps: ## Install the Debian packages that the tests need
	.ci/deps

tidy: ## Check that go.mod is tidy
	$(GO) mod tidy -diff

generate: ## Compile the BPF programs, which are committed
	$(GO) generate ./inotify/bpf ./sysctl/guard

generated: generate ## Check that the committed BPF programs are what the compiler makes
	git diff --exit-code --stat -- inotify/bpf sysctl/guard

vet: ## Run go vet
	$(GO) vet ./...

lint: ## Run golangci-lint, and count private words
	$(TOOL) golangci-lint run ./...
	$(GO) run ./.ci/words

unit: ## Run the unit tests, without root (1 to 2 minutes)
	$(GO) test ./...

# The largest loads run in privileged, without the race detector.
race: ## Run the unit tests with the race detector
	CGO_ENABLED=1 $(GO) test -race -short ./...

# The tests put every setting back.
privileged: build ## Run the tests as root, on the real limits of this machine (about 15 minutes)
	$(SUDO) env "PATH=$$PATH" NODETUNE_TEST_PRIVILEGED=1 $(GO) test -p 1 -count=1 -timeout 20m ./...

fuzz: ## Run every fuzz target for FUZZTIME (3s)
	.ci/fuzz $(FUZZTIME)

cross: bin/kubectl-nodetune-linux-arm64 bin/kubectl-nodetune-darwin-arm64 bin/kubectl-nodetune-windows-amd64 ## Build for amd64 and arm64, and the plugin for each system
	GOARCH=amd64 $(GO) build -trimpath -o /dev/null ./cmd/nodetune
	GOARCH=arm64 $(GO) build -trimpath -o /dev/null ./cmd/nodetune

PLUGINS := $(foreach os,linux darwin windows,$(foreach arch,amd64 arm64,bin/kubectl-nodetune-$(os)-$(arch)))

plugin: $(PLUGINS) ## Build kubectl-nodetune for Linux, macOS and Windows

.PHONY: $(PLUGINS)
$(PLUGINS): bin/kubectl-nodetune-%:
	GOOS=$(word 1,$(subst -, ,$*)) GOARCH=$(word 2,$(subst -, ,$*)) $(GO) build -trimpath -ldflags "-s -w" -o $@$(if $(findstring windows,$*),.exe) ./cmd/kubectl-nodetune

# Some benchmarks change the limits of this machine, and put them back.
bench: build ## Run all benchmarks as root, six times each
	$(SUDO) env "PATH=$$PATH" NODETUNE_TEST_PRIVILEGED=1 $(GO) test -p 1 -run '^$$' -bench . -benchmem -count 6 ./... | tee bin/bench.txt
	$(TOOL) benchstat bin/bench.txt

# To push an image: skopeo copy docker-archive:bin/nodetune-amd64.tar docker://...
IMAGE ?= ghcr.io/nodetune/nodetune:latest

image: deps ## Build the images for amd64 and arm64, without a registry
	deploy/image amd64 bin/nodetune-amd64.tar $(IMAGE)
	deploy/image arm64 bin/nodetune-arm64.tar $(IMAGE)

# The programs of a real cluster. Only the first build takes minutes.
KUBERNETES := kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl
KUSTOMIZE  := $(patsubst e2e/tools/kustomize/%.mod,e2e/bin/kustomize-%,$(wildcard e2e/tools/kustomize/kubectl-*.mod))
KVERSION   := -X k8s.io/component-base/version
HLDFLAGS   := -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=34
KLDFLAGS   := -s -w $(KVERSION).gitVersion=v1.34.4 $(KVERSION).gitMajor=1 $(KVERSION).gitMinor=34 $(KVERSION).gitTreeState=clean

e2e-tools: deps e2e/bin/.kubernetes e2e/bin/.helm $(KUSTOMIZE) e2e/bin/kernel/6.1 ## Build the programs of a real cluster from source, once

e2e/bin/.kubernetes: e2e/tools/kubernetes/go.sum
	mkdir -p e2e/bin
	$(GO) -C e2e/tools/kubernetes build -trimpath -ldflags "$(KLDFLAGS)" -o ../../bin/ tool
	touch $@

e2e/bin/.helm: e2e/tools/helm/go.sum
	mkdir -p e2e/bin
	$(GO) -C e2e/tools/helm build -trimpath -ldflags "-s -w $(HLDFLAGS)" -o ../../bin/ tool
	touch $@

# The version of kustomize that each supported kubectl contains.
e2e/bin/kustomize-%: e2e/tools/kustomize/%.mod e2e/tools/kustomize/main.go
	mkdir -p e2e/bin
	$(GO) -C e2e/tools/kustomize build -trimpath -modfile=$*.mod -o ../../bin/kustomize-$* .

# Kernels of Debian 12.
e2e/bin/kernel/6.1:
	.ci/kernel $@ linux-image-cloud-amd64

e2e/bin/kernel/6.12:
	.ci/kernel $@ linux-image-6.12-cloud-amd64

# A cluster to work with: make e2e-up; e2e/bin/e2e exec kubectl get nodes; make e2e-down
e2e-up: e2e-tools e2e-image ## Start a cluster of one node on this machine
	$(GO) -C e2e build -o bin/e2e .
	$(SUDO) e2e/bin/e2e up

e2e-down: ## Remove that cluster
	$(SUDO) e2e/bin/e2e down

e2e-image: deps
	$(GO) build -trimpath -o e2e/bin/nodetune ./cmd/nodetune
	$(GO) build -trimpath -o e2e/bin/kubectl-nodetune ./cmd/kubectl-nodetune
	deploy/image $$($(GO) env GOARCH) e2e/bin/nodetune.tar ghcr.io/nodetune/nodetune:latest

e2e: ## Run all tests on a real cluster
	.ci/parts e2e-tools e2e-image e2e-lint e2e-test

e2e-lint:
	$(GO) -C e2e mod tidy -diff
	$(GO) -C e2e vet ./...
	$(GO) -C e2e tool -modfile=../.ci/tools/go.mod golangci-lint run ./...

# The tests of the API server mostly wait, so they run beside the others.
e2e-test:
	.ci/beside e2e-api e2e-clusters

e2e-api:
	.ci/tests $(SUDO) env "PATH=$$PATH" $(GO) -C e2e test -v -count=1 -timeout 25m ./api

e2e-clusters:
	.ci/tests $(SUDO) env "PATH=$$PATH" $(GO) -C e2e test -v -p 1 -count=1 -timeout 45m $$($(GO) -C e2e list ./... | grep -v /api$$)

loss: ## Rotate logs under load beside logrotate, at full size (about ten minutes)
	$(SUDO) env "PATH=$$PATH" NODETUNE_TEST_PRIVILEGED=1 NODETUNE_TEST_LOSS=full $(GO) test -p 1 -count=1 -timeout 60m -v -run '^TestLoss|^TestOvershoot|^TestStalledReaderCost' ./disk/...

# Fluent Bit is in no package of Debian: make collectors FLUENT_BIT=/opt/fluent-bit/bin/fluent-bit
FLUENT_BIT ?= fluent-bit

collectors: deps ## Rotate logs under real collectors, beside logrotate (about 15 minutes; needs Fluent Bit)
	@mkdir -p e2e/bin/collectors
	@ln -sf "$$(command -v $(FLUENT_BIT))" e2e/bin/collectors/fluent-bit || { echo "no $(FLUENT_BIT) here: set FLUENT_BIT to the program" >&2; exit 1; }
	$(GO) -C e2e/tools/otelcol build -trimpath -o ../../bin/collectors/otelcol .
	$(PRIVILEGED) NODETUNE_TEST_COLLECTORS=$(CURDIR)/e2e/bin/collectors $(GO) test -count=1 -timeout 60m -v -run '^TestFollowersForReal$$|^TestCollectorsUnderLoad$$' ./disk/rotate

PRIVILEGED := $(SUDO) env "PATH=$$PATH" NODETUNE_TEST_PRIVILEGED=1

scale: build ## Hold and make all that tenants can, beside an agent with the limits of the manifests (about 15 minutes)
	$(PRIVILEGED) NODETUNE_TEST_SCALE=full $(GO) test -count=1 -timeout 60m -v -run '^TestScale$$' ./cmd/nodetune/internal/cli

ATTACK ?= 10m

attack: e2e-tools e2e-image ## Let a restricted pod on a real cluster attack the agent for ATTACK (10m)
	$(SUDO) env "PATH=$$PATH" NODETUNE_TEST_ATTACK=$(ATTACK) $(GO) -C e2e test -v -count=1 -timeout 0 -run '^TestAttack$$' ./scenario

nodes: deps e2e/bin/kernel/6.1 e2e/bin/kernel/6.12 ## Try the BPF programs on other kernels, in emulated machines (about ten minutes)
	for kernel in 6.1 6.12; do $(SUDO) env "PATH=$$PATH" NODETUNE_TEST_KERNEL=$$kernel $(GO) -C e2e test -v -count=1 -timeout 60m ./kernel || exit 1; done

SOAK ?= 1h

soak: build ## Run an agent beside churn for SOAK (1h)
	$(PRIVILEGED) NODETUNE_TEST_SOAK=$(SOAK) $(GO) test -count=1 -timeout 0 -v -run '^TestSoak$$' ./cmd/nodetune/internal/cli

# It needs the vulnerability database, so it is not part of make test.
vuln: ## Run govulncheck; needs the network
	$(GO) run golang.org/x/vuln/cmd/govulncheck@v1.9.0 ./...

clean: ## Remove bin
	rm -rf bin
