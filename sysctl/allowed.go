package sysctl

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/nodetune/nodetune/internal/kernelmem"
)

// settable describes which numbers the kernel accepts for a key that nodetune
// may write (kernel/sysctl.c, fs/*/sysctl tables; Documentation/admin-guide/sysctl).
type settable struct {
	max Value
	// unitBytes is the kernel memory that one unit can pin, where it is known: a
	// floor may then be a share of memory.
	unitBytes int64
}

// maxNrOpen is sysctl_nr_open_max of fs/file.c on 64 bit: INT_MAX rounded down
// to a multiple of BITS_PER_LONG.
const maxNrOpen = math.MaxInt32 &^ 63

var allowed = map[Key]settable{
	MaxUserInstances:    {max: math.MaxInt32},
	MaxUserWatches:      {max: math.MaxInt32, unitBytes: kernelmem.WatchBytes},
	MaxQueuedEvents:     {max: math.MaxInt32},
	FileMax:             {max: math.MaxInt64},
	NrOpen:              {max: maxNrOpen},
	"fs.aio-max-nr":     {max: math.MaxInt64},
	"vm.max_map_count":  {max: math.MaxInt32},
	"kernel.pid_max":    {max: 1 << 22}, // PID_MAX_LIMIT, 64 bit
	EpollMaxUserWatches: {max: math.MaxInt64, unitBytes: kernelmem.EpollWatchBytes},
	UserMaxWatches:      {max: math.MaxInt32, unitBytes: kernelmem.WatchBytes},
}

// lookup returns which values the kernel accepts for k, or an error that says
// why nodetune does not write k.
func lookup(k Key) (settable, error) {
	if s, ok := allowed[k]; ok {
		return s, nil
	}
	switch {
	case strings.HasPrefix(string(k), "user.max_"):
		return settable{max: math.MaxInt32}, nil
	case strings.HasPrefix(string(k), "fs.epoll."):
		return settable{max: math.MaxInt64}, nil
	case strings.HasPrefix(string(k), "net."):
		return settable{}, fmt.Errorf("%s cannot be set by nodetune: the network plugin, kube-proxy and pods in their own network namespaces set net.*, and two writers would conflict", k)
	case slices.Contains(kubeletKeys, k):
		return settable{}, fmt.Errorf("%s cannot be set by nodetune: the kubelet owns it, and with protectKernelDefaults the kubelet refuses to start when the value differs", k)
	}
	return settable{}, fmt.Errorf("%s is not supported: nodetune sets fs.inotify.*, fs.file-max, fs.nr_open, fs.aio-max-nr, fs.epoll.*, user.max_*, vm.max_map_count and kernel.pid_max", k)
}

// kubeletKeys are those that setupKernelTunables of the kubelet's container
// manager sets once at its start (Kubernetes v1.34).
var kubeletKeys = []Key{
	"vm.overcommit_memory",
	"vm.panic_on_oom",
	"kernel.panic",
	"kernel.panic_on_oops",
	"kernel.keys.root_maxkeys",
	"kernel.keys.root_maxbytes",
}

// CheckKey returns why nodetune does not set k, or nil where it may.
func CheckKey(k Key) error {
	_, err := lookup(k)
	return err
}
