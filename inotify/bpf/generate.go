package bpf

// The compiled programs are committed, so building nodetune needs no clang. CI
// compiles them again, with the clang of Debian 12, and compares.
//go:generate go tool -modfile=../../.ci/tools/go.mod bpf2go -cc clang-14 -strip llvm-strip-14 -tags linux -go-package bpf -type notification ucounts ucounts.bpf.c -- -Wall -Werror
//go:generate go tool -modfile=../../.ci/tools/go.mod bpf2go -cc clang-14 -strip llvm-strip-14 -tags linux -go-package bpf walk walk.bpf.c -- -Wall -Werror
//go:generate go tool -modfile=../../.ci/tools/go.mod bpf2go -cc clang-14 -strip llvm-strip-14 -tags linux -go-package bpf failures failures.bpf.c -- -Wall -Werror
