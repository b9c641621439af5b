package reclaim

import (
	"context"
	"fmt"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/internal/hostfs"
	"github.com/nodetune/nodetune/internal/workload"
)

// orphanAfter is how long a pod's log directory must not have changed. The
// kubelet removes the logs of pods it does not know every minute, so what is
// left an hour later it cannot see or does not come to.
const orphanAfter = time.Hour

// FindOrphans returns the pods whose logs are here and that the kubelet does not
// have: known are those whose directory is below its root. Where that could not
// be listed (nil) nothing is known.
func FindOrphans(host hostfs.Root, producers []logs.Producer, known map[string]bool, now time.Time) []Orphan {
	if known == nil {
		return nil
	}
	byPod := map[string]*Orphan{}
	for _, p := range producers {
		// A container without a pod is Docker's own, and no pod has left it.
		if p.Kind != logs.KindContainer || p.PodUID == "" || known[p.PodUID] {
			continue
		}
		at := path.Dir(p.Path)
		if byPod[at] == nil {
			byPod[at] = &Orphan{
				Workload: workload.Workload{Namespace: p.Namespace, Pod: p.Pod, PodUID: p.PodUID},
				Path:     at, Modified: changed(host, at),
			}
		}
		for _, t := range []time.Time{changed(host, p.Path), p.Newest} {
			if t.After(byPod[at].Modified) {
				byPod[at].Modified = t
			}
		}
		byPod[at].Bytes += p.Bytes
	}
	var all []Orphan
	for _, x := range byPod {
		if !x.Modified.IsZero() && now.Sub(x.Modified) >= orphanAfter {
			all = append(all, *x)
		}
	}
	return all
}

// gone returns an error unless the container runtime has no sandbox of the pod
// whose log directory has this name, NAMESPACE_POD_UID.
func (r *Reclaimer) gone(ctx context.Context, name string) error {
	if r.Sandboxes == nil {
		return nil
	}
	uids, err := r.Sandboxes(ctx, r.socket)
	if err != nil {
		return fmt.Errorf("ask the container runtime for the pod of %s: %w", name, err)
	}
	if uids[name[strings.LastIndexByte(name, '_')+1:]] {
		return logdir.Skipf("the container runtime still has the pod of %s", name)
	}
	return nil
}

// changed returns the mtime of a directory, or zero where it cannot be known.
func changed(host hostfs.Root, dir string) time.Time {
	fd, err := host.OpenDir(dir, unix.O_PATH)
	if err != nil {
		return time.Time{}
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Statx_t
	if err := hostfs.Statx(fd, hostfs.Self, &st); err != nil {
		return time.Time{}
	}
	return hostfs.Time(st.Mtime)
}

// Orphan is a directory of /var/log/pods of a pod that this node does not seem
// to have any more. It is a candidate: the kubelet and the runtime decide.
type Orphan struct {
	workload.Workload
	Path     string    `json:"path"`
	Bytes    uint64    `json:"bytes"`
	Modified time.Time `json:"modified"`
}
