// Each kubectl-1.N.mod beside this one is the kustomize of that kubectl.
module github.com/nodetune/nodetune/e2e/tools/kustomize

go 1.26.0
