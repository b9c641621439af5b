package guard

import (
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// Program is one that the kernel runs for reads and writes below /proc/sys.
type Program struct {
	ID   uint32
	Name string // "" without CAP_SYS_ADMIN
	Own  bool   // it is a guard of nodetune's, as its name says
}

// Programs lists the programs that are attached to the root of the cgroup v2
// hierarchy, in the order in which they run: the last one decides what is
// written. It needs CAP_NET_ADMIN.
func Programs(cgroupfs string) ([]Program, error) {
	root, err := openRoot(cgroupfs)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	found, err := link.QueryPrograms(link.QueryOptions{Target: int(root.Fd()), Attach: ebpf.AttachCGroupSysctl})
	if err != nil {
		return nil, fmt.Errorf("list the sysctl programs of the cgroup root: %w", err)
	}
	var all []Program
	for _, p := range found.Programs {
		one := Program{ID: uint32(p.ID)}
		one.Name = programName(p.ID)
		one.Own = strings.HasPrefix(one.Name, "nodetune_")
		all = append(all, one)
	}
	return all, nil
}

func programName(id ebpf.ProgramID) string {
	p, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return "" // no CAP_SYS_ADMIN, or it ended
	}
	defer func() { _ = p.Close() }()
	info, err := p.Info()
	if err != nil {
		return ""
	}
	return info.Name
}
