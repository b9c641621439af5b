package bpf

import (
	"runtime/debug"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/features"
)

// Types is what the kernel says of its types, by which programs find the fields
// they read. To decode it takes 15 ms and 5 MiB: those that are loaded one after
// the other share it.
type Types struct{ cache *btf.Cache }

// NewTypes decodes nothing before it is needed.
func NewTypes() *Types { return &Types{btf.NewCache()} }

// Forget lets it go, which the runtime by itself would do slowly.
func (t *Types) Forget() {
	t.cache = nil
	debug.FreeOSMemory()
}

func (t *Types) options() *ebpf.CollectionOptions { return &ebpf.CollectionOptions{Cache: t.cache} }

// load reads an embedded program, for a kernel with bpf_loop, Linux 5.17, or
// without it.
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
