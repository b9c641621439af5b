# make run   builds nodetune and raises this machine's limits (the main job)
# make test  installs what the tests need and runs all of them; CI runs this

GO    ?= go
TOOL  := $(GO) tool -modfile=.ci/tools/go.mod
SUDO  := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
FUZZTIME ?= 3s

export CGO_ENABLED ?= 0

.PHONY: build run test deps tidy generate generated vet lint unit race privileged fuzz cross bench loss vuln clean image e2e-tools e2e-image e2e-up e2e-down e2e e2e-lint e2e-test e2e-api e2e-clusters

build:
	$(GO) build -trimpath -o bin/nodetune ./cmd/nodetune

run: build
	$(SUDO) bin/nodetune apply

.NOTPARALLEL:

test:
	.ci/parts deps tidy generated vet lint race privileged fuzz cross e2e

# Debian packages the tests use as oracles and victims.
deps:
	.ci/deps

tidy:
	$(GO) mod tidy -diff

# Compiles the BPF programs, which are committed.
generate:
	$(GO) generate ./inotify/bpf ./sysctl/guard

# What is committed is what was compiled.
generated: generate
	git diff --exit-code --stat -- inotify/bpf sysctl/guard

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
	GOARCH=amd64 $(GO) build -trimpath -o /dev/null ./cmd/nodetune
	GOARCH=arm64 $(GO) build -trimpath -o /dev/null ./cmd/nodetune

# As root: some are about the real limits of this machine, and put them back.
bench: build
	$(SUDO) env "PATH=$$PATH" NODETUNE_TEST_PRIVILEGED=1 $(GO) test -p 1 -run '^$$' -bench . -benchmem -count 6 ./... | tee bin/bench.txt
	$(TOOL) benchstat bin/bench.txt

# The image, without a registry: skopeo copy docker-archive:bin/nodetune-amd64.tar docker://...
IMAGE ?= ghcr.io/nodetune/nodetune:latest

image: deps
	deploy/image amd64 bin/nodetune-amd64.tar $(IMAGE)
	deploy/image arm64 bin/nodetune-arm64.tar $(IMAGE)

# The programs of a real cluster, from source: minutes the first time, nothing after that.
KUBERNETES := kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl
KUSTOMIZE  := $(patsubst e2e/tools/kustomize/%.mod,e2e/bin/kustomize-%,$(wildcard e2e/tools/kustomize/kubectl-*.mod))
KVERSION   := -X k8s.io/component-base/version
HLDFLAGS   := -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=34
KLDFLAGS   := -s -w $(KVERSION).gitVersion=v1.34.4 $(KVERSION).gitMajor=1 $(KVERSION).gitMinor=34 $(KVERSION).gitTreeState=clean

e2e-tools: deps e2e/bin/.kubernetes e2e/bin/.helm $(KUSTOMIZE) e2e/bin/kernel/vmlinuz

e2e/bin/.kubernetes: e2e/tools/kubernetes/go.sum
	mkdir -p e2e/bin
	$(GO) -C e2e/tools/kubernetes build -trimpath -ldflags "$(KLDFLAGS)" -o ../../bin/ tool
	touch $@

e2e/bin/.helm: e2e/tools/helm/go.sum
	mkdir -p e2e/bin
	$(GO) -C e2e/tools/helm build -trimpath -ldflags "-s -w $(HLDFLAGS)" -o ../../bin/ tool
	touch $@

# The kustomize of each supported kubectl.
e2e/bin/kustomize-%: e2e/tools/kustomize/%.mod e2e/tools/kustomize/main.go
	mkdir -p e2e/bin
	$(GO) -C e2e/tools/kustomize build -trimpath -modfile=$*.mod -o ../../bin/kustomize-$* .

# Linux 6.1, of Debian 12.
e2e/bin/kernel/vmlinuz:
	.ci/kernel $@

# A cluster to work with: make e2e-up; e2e/bin/e2e exec kubectl get nodes; make e2e-down
e2e-up: e2e-tools e2e-image
	$(GO) -C e2e build -o bin/e2e .
	$(SUDO) e2e/bin/e2e up

e2e-down:
	$(SUDO) e2e/bin/e2e down

e2e-image: deps
	$(GO) build -trimpath -o e2e/bin/nodetune ./cmd/nodetune
	deploy/image $$($(GO) env GOARCH) e2e/bin/nodetune.tar ghcr.io/nodetune/nodetune:latest

# Every test on a real cluster.
e2e:
	.ci/parts e2e-tools e2e-image e2e-lint e2e-test

e2e-lint:
	$(GO) -C e2e mod tidy -diff
	$(GO) -C e2e vet ./...
	$(GO) -C e2e tool -modfile=../.ci/tools/go.mod golangci-lint run ./...

# What is asked of the API server alone is five minutes of waiting.
e2e-test:
	.ci/beside e2e-api e2e-clusters

e2e-api:
	.ci/tests $(SUDO) env "PATH=$$PATH" $(GO) -C e2e test -v -count=1 -timeout 25m ./api

e2e-clusters:
	.ci/tests $(SUDO) env "PATH=$$PATH" $(GO) -C e2e test -v -p 1 -count=1 -timeout 45m $$($(GO) -C e2e list ./... | grep -v /api$$)

# Rotation under load beside logrotate, at full size: some ten minutes.
loss:
	$(SUDO) env "PATH=$$PATH" NODETUNE_TEST_PRIVILEGED=1 NODETUNE_TEST_LOSS=full $(GO) test -count=1 -timeout 60m -v -run '^TestLoss|^TestOvershoot' ./disk

# Needs the vulnerability database, so it is not part of make test.
vuln:
	$(GO) run golang.org/x/vuln/cmd/govulncheck@v1.9.0 ./...

clean:
	rm -rf bin
