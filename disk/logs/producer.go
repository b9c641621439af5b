package logs

import (
	"path"

	"github.com/nodetune/nodetune/internal/hostfs"
	"github.com/nodetune/nodetune/internal/workload"
)

// containerOf returns whose logs dir holds, where it is one of the directories
// NAMESPACE_POD_UID/CONTAINER that the kubelet makes below pods, or Docker's of
// a container.
func containerOf(pods, docker, dir string) (workload.Workload, bool) {
	if path.Dir(dir) == docker {
		// The name is the id, which is what a link in /var/log/containers
		// ends with.
		w, ok := workload.ParseContainerLink("x_x_x-" + path.Base(dir) + ".log")
		return workload.Workload{ContainerID: w.ContainerID}, ok
	}
	rel, ok := hostfs.Below(dir, pods)
	if !ok {
		return workload.Workload{}, false
	}
	l, ok := workload.ParsePodLog(rel + "/0.log")
	return l.Workload, ok
}

// IsContainerDir reports whether dir holds the logs of a container: below pods,
// Docker's, or by the last two of its names wherever it lies.
func IsContainerDir(pods, dir string) bool {
	if _, ok := containerOf(pods, DockerLogs, dir); ok {
		return true
	}
	_, ok := workload.ParsePodLog(path.Join(path.Base(path.Dir(dir)), path.Base(dir), "0.log"))
	return ok
}

// owner is what writes the files of a directory, and whose they are.
type owner struct {
	kind Kind
	workload.Workload
}

func ownerOf(pods, docker, dir string) owner {
	if w, ok := containerOf(pods, docker, dir); ok {
		return owner{KindContainer, w}
	}
	return owner{kind: KindOf(dir)}
}

// KindOf says what writes the files of dir, where it is no container's. Only the
// directories where journald and the core dump handlers write are theirs: an
// application may call its own directory journal or crash.
func KindOf(dir string) Kind {
	for kind, tops := range kindDirs {
		for _, top := range tops {
			if _, ok := hostfs.Below(dir, top); ok {
				return kind
			}
		}
	}
	return KindFile
}

var kindDirs = map[Kind][]string{
	KindJournal: {"/var/log/journal", "/run/log/journal"},
	// systemd-coredump(8); apport and kdump.
	KindCore: {"/var/lib/systemd/coredump", "/var/crash"},
}

// Producers returns what t knows, one producer per container, and per log with
// its archives elsewhere. Of the journal and of core dumps a directory is one
// producer. last maps a producer's path to what it had written at the pass
// before, seconds ago; it is replaced by what it has written now.
func (t *Tree) Producers(seconds float64, last map[string]uint64, now map[string]uint64) []Producer {
	var all []Producer
	t.each(func(d *dir) {
		if len(d.groups) == 0 {
			return
		}
		sums := map[*group]*Producer{}
		var one *Producer
		for _, g := range d.groups {
			p := one
			if p == nil {
				p = &Producer{Kind: d.owner.kind, Workload: d.owner.Workload, Path: d.path}
				if p.Kind == KindFile {
					p.Path = path.Join(d.path, g.base)
				} else {
					one = p
				}
			}
			p.Bytes += g.quiet
			p.Files += g.files
			p.Archives += g.archives
			p.WrittenBytes += g.written
			sums[g] = p
		}
		for i := range d.live {
			f := &d.live[i]
			p := sums[f.group]
			p.Bytes += f.blocks
			if f.mtime.After(p.Newest) {
				p.Newest = f.mtime
			}
		}
		for g, p := range sums {
			if p == one && g != d.groups[0] {
				continue
			}
			if seconds > 0 {
				rate := float64(p.WrittenBytes-min(p.WrittenBytes, last[p.Path])) / seconds
				p.BytesPerSecond = &rate
			}
			now[p.Path] = p.WrittenBytes
			all = append(all, *p)
		}
	})
	return all
}

// MarkOverlaps leaves out of each tree what another one begins with, so that a
// directory which a link or a bind mount gives a second path is accounted once.
func MarkOverlaps(trees []*Tree) {
	type identity struct {
		dev devno
		ino uint64
	}
	tops := map[identity]*Tree{}
	for _, t := range trees {
		if t.top == nil {
			continue
		}
		at := identity{t.top.dev, t.top.ino}
		t.top.other = tops[at] != nil
		if !t.top.other {
			tops[at] = t
		}
	}
	for _, t := range trees {
		var walk func(d *dir)
		walk = func(d *dir) {
			for _, c := range d.children {
				c.other = len(tops) > 1 && tops[identity{c.dev, c.ino}] != nil
				if !c.other {
					walk(c)
				}
			}
		}
		if t.top != nil && !t.top.other {
			walk(t.top)
		}
	}
}

// each calls visit for every directory of t that belongs to it alone.
func (t *Tree) each(visit func(*dir)) {
	var walk func(d *dir)
	walk = func(d *dir) {
		if d.other {
			return
		}
		visit(d)
		for _, c := range d.children {
			walk(c)
		}
	}
	if t.top != nil {
		walk(t.top)
	}
}

// DockerLogs is where Docker keeps containers with their json-file logs; below
// /var/log/pods are links to them.
const DockerLogs = "/var/lib/docker/containers"
