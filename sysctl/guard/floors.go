package guard

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/nodetune/nodetune/sysctl"
)

const (
	maxKeys  = 64
	maxBytes = 63 // of a key's path: the program compares 64 with the NUL

	writesStrict sysctl.Key = "kernel.sysctl_writes_strict"
)

// namespaced are keys of which each network, IPC, UTS or pid namespace has its
// own: a write of a container to one of these is not about the node.
var namespaced = []string{
	"net/", "kernel/shm", "kernel/msg", "kernel/sem", "kernel/auto_msgmni", "fs/mqueue/",
	"kernel/hostname", "kernel/domainname", "kernel/ns_last_pid",
}

// aliases are names of one variable, in the initial user namespace.
var aliases = [][2]sysctl.Key{
	{sysctl.MaxUserInstances, sysctl.UserMaxInstances},
	{sysctl.MaxUserWatches, sysctl.UserMaxWatches},
}

// SetFloors replaces the managed keys and their floors. A key that it refuses
// is an error, and nothing is changed.
func (g *Guard) SetFloors(floors map[sysctl.Key]sysctl.Value) error {
	wanted, err := entries(floors)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.coll.Maps[guardMapFloors]
	keep := map[guardName]bool{nameOf(writesStrict): true}
	for _, key := range slices.Sorted(maps.Keys(wanted)) {
		f := wanted[key]
		if f.Key, err = g.place(key); err != nil {
			return err
		}
		keep[nameOf(key)] = true
		if err := m.Put(nameOf(key), f); err != nil {
			return fmt.Errorf("set the floor of %s: %w", key, err)
		}
	}
	if err := deleteOthers(m, keep); err != nil {
		return err
	}
	return g.setStrict(m)
}

// place gives a key its place in the map of counts, for good.
func (g *Guard) place(key sysctl.Key) (uint32, error) {
	if at, ok := g.index[key]; ok {
		return at, nil
	}
	if len(g.keys) == maxKeys {
		return 0, fmt.Errorf("set the floor of %s: more than %d keys since the start; restart the agent", key, maxKeys)
	}
	at := uint32(len(g.keys))
	g.keys, g.index[key] = append(g.keys, key), at
	return at, nil
}

func deleteOthers(m *ebpf.Map, keep map[guardName]bool) error {
	var name guardName
	var f guardFloor
	var gone []guardName
	all := m.Iterate()
	for all.Next(&name, &f) {
		if !keep[name] {
			gone = append(gone, name)
		}
	}
	errs := []error{all.Err()}
	for _, name := range gone {
		errs = append(errs, m.Delete(name))
	}
	return errors.Join(errs...)
}

// setStrict reads whether the kernel ignores writes at an offset, which it does
// unless another program has changed kernel.sysctl_writes_strict. The program
// sees such a change itself.
func (g *Guard) setStrict(m *ebpf.Map) error {
	if err := m.Put(nameOf(writesStrict), guardFloor{WritesStrict: 1}); err != nil {
		return err
	}
	var strict uint8
	b, err := os.ReadFile(filepath.Join(g.procfs, "sys", writesStrict.Path()))
	// A container may be given /proc/sys/fs alone. 1 is the kernel's default.
	if errors.Is(err, os.ErrNotExist) || err == nil && strings.TrimSpace(string(b)) == "1" {
		strict = 1
	}
	return g.coll.Variables[guardVarStrict].Set(strict)
}

// entries are what the program gets to know, with both names of a variable.
func entries(floors map[sysctl.Key]sysctl.Value) (map[sysctl.Key]guardFloor, error) {
	all := maps.Clone(floors)
	for _, a := range aliases {
		x, hasX := floors[a[0]]
		y, hasY := floors[a[1]]
		if hasX || hasY {
			all[a[0]], all[a[1]] = max(x, y), max(x, y)
		}
	}
	if len(all) > maxKeys {
		return nil, fmt.Errorf("guard %d keys: at most %d are supported", len(all), maxKeys)
	}
	out := make(map[sysctl.Key]guardFloor, len(all))
	for key, floor := range all {
		if err := check(key, floor); err != nil {
			return nil, fmt.Errorf("guard %s: %w", key, err)
		}
		f := guardFloor{Value: int64(floor)}
		text := strconv.FormatInt(int64(floor), 10)
		for i := range f.Text {
			f.Text[i] = '\n'
		}
		for i := range text {
			f.Text[i] = int8(text[i])
		}
		f.Length = uint32(len(text))
		if strings.HasPrefix(key.Path(), "user/") {
			f.PerUserNamespace = 1
		}
		out[key] = f
	}
	return out, nil
}

func check(key sysctl.Key, floor sysctl.Value) error {
	path := key.Path()
	switch {
	case !floor.Known():
		return errors.New("the floor is not known")
	case path == "" || len(path) > maxBytes:
		return fmt.Errorf("its name has %d bytes, want 1 to %d", len(path), maxBytes)
	case key == writesStrict:
		return errors.New("it has no floor: it selects how the kernel reads writes")
	}
	for _, prefix := range namespaced {
		if strings.HasPrefix(path, prefix) {
			return errors.New("each namespace has its own; only keys of the whole node are guarded")
		}
	}
	return nil
}

func nameOf(key sysctl.Key) guardName {
	var n guardName
	for i, c := range []byte(key.Path()) {
		n.Path[i] = int8(c)
	}
	return n
}
