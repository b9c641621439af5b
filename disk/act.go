package disk

import (
	"context"
	"errors"
	"path"
	"time"

	"golang.org/x/sys/unix"
)

// Act is one thing that was done to a file, or could not be.
type Act struct {
	Verb    string `json:"act"`
	Path    string `json:"path"`
	Archive string `json:"archive,omitempty"`
	Bytes   uint64 `json:"bytes"` // freed, or moved into an archive
	Reason  string `json:"reason"`
	Asked   string `json:"asked,omitempty"`        // who was asked to reopen the log, and how
	Unread  uint64 `json:"unread_bytes,omitempty"` // gone before a reader had them
	Err     error  `json:"-"`
	Error   string `json:"error,omitempty"`
}

// The verbs of acts.
const (
	ActRotate   = "rotate"
	ActCompress = "compress"
	ActRemove   = "remove"
	ActRepair   = "repair"
	ActPunch    = "punch"
	ActRefuse   = "refuse"
)

func (a Act) failed(err error) Act {
	if err != nil {
		a.Err, a.Error = err, err.Error()
		if _, ok := errors.AsType[*Refusal](err); ok {
			a.Verb = ActRefuse
		}
	}
	return a
}

// Logrotate reports which paths logrotate's configuration on the host names:
// those are not ours to rotate. Where the host's /etc is not to be seen nothing is
// known.
func (r *Rotator) Logrotate() (func(file string) bool, error) {
	host, done, err := rootWithEtc(r.procfs, r.rootfs)
	if err != nil {
		return nil, refusef("whether logrotate rotates a log is not known: %v; it takes CAP_SYS_PTRACE, or the host's /etc below --path.rootfs", err)
	}
	defer done()
	stanzas := readLogrotate(host.files()).stanzas
	return func(file string) bool {
		for _, s := range stanzas {
			if s.manages(file) {
				return true
			}
		}
		return false
	}, nil
}

// Pass rotates what is due by rotations, and then settles the archives of every
// log they name: compressing lasts, and no log that grows waits for it. With
// pressed a reader that is behind is not waited for.
func (r *Rotator) Pass(ctx context.Context, rotations []Rotation, pressed bool, now time.Time) []Act {
	if len(rotations) == 0 {
		return nil
	}
	var acts []Act
	managed, err := r.Logrotate()
	if err != nil {
		return []Act{Act{Verb: ActRotate, Path: "/etc"}.failed(err)}
	}
	type log struct {
		path string
		how  How
	}
	var logs []log
	for _, rule := range rotations {
		for _, pattern := range rule.Paths {
			files, err := r.match(pattern)
			if err != nil && !errors.Is(err, unix.ENOENT) {
				acts = append(acts, Act{Verb: ActRotate, Path: pattern}.failed(err))
			}
			for _, f := range files {
				if ctx.Err() != nil {
					return acts
				}
				if managed(f.path) {
					acts = append(acts, Act{Verb: ActRotate, Path: f.path}.failed(
						refusef("%s is rotated by logrotate: take it out of /etc/logrotate.d, or out of disk.rotations", f.path)))
					continue
				}
				how := rule.How()
				how.Force = pressed
				logs = append(logs, log{f.path, how})
				if why := rule.due(f.size, f.last, now, pressed); why != "" {
					acts = append(acts, r.rotateDue(ctx, f, how, why, now)...)
				}
			}
		}
	}
	for _, l := range logs {
		if ctx.Err() != nil {
			break
		}
		s, err := r.Settle(ctx, l.path, l.how, now)
		acts = append(acts, s.acts(l.path)...)
		if err != nil {
			acts = append(acts, Act{Verb: ActRepair, Path: l.path}.failed(err))
		}
	}
	return acts
}

func (r *Rotator) rotateDue(ctx context.Context, f candidate, how How, why string, now time.Time) []Act {
	a := Act{Verb: ActRotate, Path: f.path, Bytes: f.size, Reason: why}
	how.Asked = func(who string) { a.Asked = who }
	var err error
	if a.Archive, err = r.Rotate(ctx, f.path, how, now); a.Archive == "" && err == nil {
		return nil // it has become empty meanwhile
	}
	return []Act{a.failed(err)}
}

// candidate is a log that a pattern matches.
type candidate struct {
	path string
	size uint64
	last time.Time // its last rotation, or its beginning
}

// match returns the logs that a pattern names, without archives. A log that is
// not there, but has archives, is one of them: they still expire.
func (r *Rotator) match(pattern string) ([]candidate, error) {
	d, err := openFolder(r.rootfs, r.logPaths, path.Dir(pattern))
	if err != nil {
		return nil, err
	}
	defer d.close()
	names, err := d.names()
	if err != nil {
		return nil, err
	}
	var all []candidate
	for _, n := range append(names, missing(names)...) {
		if ok, err := path.Match(path.Base(pattern), n); !ok || err != nil || n[0] == '.' && path.Base(pattern)[0] != '.' {
			continue
		}
		if _, old := archive([]byte(n)); old {
			continue
		}
		var st unix.Statx_t
		if err := statx(d.fd, []byte(n+"\x00"), &st); errors.Is(err, unix.ENOENT) {
			all = append(all, candidate{path: path.Join(d.path, n)})
			continue
		} else if err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
			continue
		}
		c := candidate{path: path.Join(d.path, n), size: st.Size, last: when(born(&st))}
		if old := archivesOf(n, names); len(old) > 0 {
			c.last = old[len(old)-1].at
		}
		all = append(all, c)
	}
	return all, nil
}

// missing returns the logs of which names has archives of ours only.
func missing(names []string) []string {
	there := make(map[string]bool, len(names))
	for _, n := range names {
		there[n] = true
	}
	var gone []string
	for _, n := range names {
		base, old := archive([]byte(n))
		if b := string(base); old && b != "" && !there[b] && len(archivesOf(b, []string{n})) > 0 {
			there[b] = true
			gone = append(gone, b)
		}
	}
	return gone
}

func (s Settled) acts(file string) []Act {
	var acts []Act
	for _, p := range s.Repaired {
		acts = append(acts, Act{Verb: ActRepair, Path: p, Reason: "left by a run that was killed"})
	}
	for _, a := range s.Compressed {
		acts = append(acts, Act{Verb: ActCompress, Path: a.Path, Bytes: a.Bytes, Reason: "an archive of " + file + " that nobody has open"})
	}
	for _, a := range s.Removed {
		acts = append(acts, Act{Verb: ActRemove, Path: a.Path, Bytes: a.Bytes, Reason: "beyond what is kept of " + file})
	}
	return acts
}
