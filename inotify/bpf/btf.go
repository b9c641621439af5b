package bpf

import (
	"runtime/debug"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/features"
)

// Types caches the BTF of the running kernel, by which the loader finds the fields
// that the programs read. Decoding it takes 15 ms and 5 MiB, so programs that are
// loaded one after the other share it.
type Types struct{ cache *btf.Cache }

// NewTypes returns an empty cache. The first program that is loaded fills it.
func NewTypes() *Types { return &Types{btf.NewCache()} }

// Close frees the memory at once. The Go runtime would return it slowly.
func (t *Types) Close() {
	t.cache = nil
	debug.FreeOSMemory()
}

func (t *Types) options() *ebpf.CollectionOptions { return &ebpf.CollectionOptions{Cache: t.cache} }

// load reads an embedded program and prepares it for this kernel, which has
// bpf_loop since Linux 5.17.
func load(embedded func() (*ebpf.CollectionSpec, error)) (*ebpf.CollectionSpec, error) {
	return loadFor(features.HaveProgramHelper(ebpf.Syscall, asm.FnLoop) == nil, embedded)
}

func loadFor(bpfLoop bool, embedded func() (*ebpf.CollectionSpec, error)) (*ebpf.CollectionSpec, error) {
	spec, err := embedded()
	if err != nil {
		return nil, err
	}
	if bpfLoop {
		spec.Maps["steps"].MaxEntries = 1
		return spec, nil
	}
	return spec, spec.Variables["no_bpf_loop"].Set(uint8(1))
}
