package bpf

// The programs are committed as they were compiled, with the clang of Debian
// 12, so that building nodetune needs none; CI compiles them again and
// compares.
//go:generate go tool -modfile=../../.ci/tools/go.mod bpf2go -cc clang-14 -strip llvm-strip-14 -tags linux -go-package bpf -type rung ucounts ucounts.c -- -Wall -Werror
//go:generate go tool -modfile=../../.ci/tools/go.mod bpf2go -cc clang-14 -strip llvm-strip-14 -tags linux -go-package bpf walk walk.c -- -Wall -Werror
//go:generate go tool -modfile=../../.ci/tools/go.mod bpf2go -cc clang-14 -strip llvm-strip-14 -tags linux -go-package bpf refusals refusals.c -- -Wall -Werror
