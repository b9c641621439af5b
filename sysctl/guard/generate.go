package guard

// The programs are committed as they were compiled, with the clang of Debian
// 12, so that building nodetune needs none; CI compiles them again and
// compares. They share what they read of the kernel with inotify/bpf.
//go:generate go tool -modfile=../../.ci/tools/go.mod bpf2go -cc clang-14 -strip llvm-strip-14 -tags linux -go-package guard -type write guard guard.c -- -I../../inotify/bpf -Wall -Werror
