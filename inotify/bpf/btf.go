package bpf

import (
	"runtime/debug"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/features"
)

// Types is the BTF of the running kernel, by which the loader finds the fields that
// the programs read. Decoding it takes 15 ms and 5 MiB, so all Types of a process
// share it.
type Types struct {
	cache *btf.Cache
	close sync.Once
}

// typesKept is how long decoded BTF is kept after the last use. The tasks of an
// agent load their programs within seconds of each other.
const typesKept = 10 * time.Second

// shared is the BTF that is in use, or was up to typesKept ago.
var shared struct {
	sync.Mutex
	cache *btf.Cache
	users int
	last  time.Time
}

// NewTypes returns the BTF of the kernel, and decodes it where no other program of
// this process needed it a short time ago. A kernel without BTF is reported by what
// loads a program. Close it when the programs are loaded.
func NewTypes() *Types {
	shared.Lock()
	defer shared.Unlock()
	if shared.cache == nil {
		shared.cache = btf.NewCache()
		if kernel, err := shared.cache.Kernel(); err == nil {
			distinguishFunctions(kernel)
		}
	}
	shared.users++
	return &Types{cache: shared.cache}
}

// Close gives the BTF back. Its memory is freed some seconds after the last Close.
func (t *Types) Close() {
	t.close.Do(func() {
		shared.Lock()
		defer shared.Unlock()
		shared.users--
		shared.last = time.Now()
		if shared.users == 0 {
			time.AfterFunc(typesKept, freeTypes)
		}
	})
}

// freeTypes frees the memory of types that nothing uses. The Go runtime would return
// it slowly.
func freeTypes() {
	shared.Lock()
	unused := shared.cache != nil && shared.users == 0 && time.Since(shared.last) >= typesKept
	if unused {
		shared.cache = nil
	}
	shared.Unlock()
	if unused {
		debug.FreeOSMemory()
	}
}

// Cache returns the BTF for a loader of another package, until Close.
func (t *Types) Cache() *btf.Cache { return t.cache }

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
