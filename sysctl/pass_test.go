package sysctl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/privtest"
)

const bootA, bootB = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"

// host is a proc root and a rootfs made of plain files.
type host struct {
	t            *testing.T
	procfs, root string
}

func newHost(t *testing.T, values map[Key]string) *host {
	t.Helper()
	h := &host{t: t, procfs: t.TempDir(), root: t.TempDir()}
	h.write("meminfo", "MemTotal:       16777216 kB\n")
	h.write("sys/kernel/random/boot_id", bootA+"\n")
	for k, v := range values {
		h.set(k, v)
	}
	return h
}

func (h *host) write(name, text string) {
	h.t.Helper()
	name = filepath.Join(h.procfs, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) set(k Key, v string) { h.t.Helper(); h.write("sys/"+k.Path(), v+"\n") }

func (h *host) get(k Key) string {
	h.t.Helper()
	b, err := os.ReadFile(filepath.Join(h.procfs, "sys", k.Path()))
	if err != nil {
		h.t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return line
}

// file is a file of the store.
func (h *host) file(name string) string { return filepath.Join(h.root, "run", "nodetune", name) }

func (h *host) pass(act bool, rules ...Rule) Pass {
	h.t.Helper()
	tree, err := OpenTree(h.procfs)
	if err != nil {
		h.t.Fatal(err)
	}
	store := NewStore(h.root)
	h.t.Cleanup(func() { tree.Close(); store.Close() })
	return Pass{Procfs: h.procfs, Tree: tree, Store: store, Rules: rules, Act: act}
}

func atLeast(k Key, v Value) Rule { return Rule{Key: k, Op: AtLeast, Want: v, Ceiling: Unknown} }

func none(Key) (Value, error) { return Unknown, nil }

func TestApplyWritesAndReadsBack(t *testing.T) {
	h := newHost(t, map[Key]string{MaxUserInstances: "128", FileMax: "9223372036854775807"})
	p := h.pass(true, atLeast(MaxUserInstances, 8192), atLeast(FileMax, 1<<20), atLeast(NrOpen, 5))
	o := p.Run(t.Context())
	if got := h.get(MaxUserInstances); got != "8192" {
		t.Errorf("the key holds %s, want 8192", got)
	}
	want := []struct {
		outcome       Outcome
		before, value Value
		changed       bool
	}{{InForce, 128, 8192, true}, {InForce, 1<<63 - 1, 1<<63 - 1, false}, {Absent, Unknown, Unknown, false}}
	for i, w := range want {
		s := o.Rules[i]
		if s.Outcome != w.outcome || s.Before != w.before || s.Value != w.value || s.Changed != w.changed {
			t.Errorf("rule %d: %+v, want %+v", i, s, w)
		}
	}
	if len(o.Warnings) > 0 {
		t.Errorf("warnings: %v", o.Warnings)
	}
	for _, s := range p.Run(t.Context()).Rules {
		if s.Changed {
			t.Errorf("a second run has changed %s", s.Key)
		}
	}
	if _, err := os.Lstat(filepath.Join(h.procfs, "sys", NrOpen.Path())); err == nil {
		t.Error("a missing key was created")
	}
}

func TestCheckWritesNothing(t *testing.T) {
	h := newHost(t, map[Key]string{MaxUserInstances: "128"})
	o := h.pass(false, atLeast(MaxUserInstances, 8192)).Run(t.Context())
	if s := o.Rules[0]; s.Outcome != Drifted || s.Changed || !strings.Contains(s.Reason, "errno=24") {
		t.Errorf("status %+v", s)
	}
	if h.get(MaxUserInstances) != "128" {
		t.Error("check wrote")
	}
	if _, err := os.Stat(h.file("")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("check made %s: %v", h.file(""), err)
	}
}

func TestTreeDoesNotLeaveTheRoot(t *testing.T) {
	h := newHost(t, map[Key]string{FileMax: "5"})
	outside := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(outside, []byte("1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	inotify := filepath.Join(h.procfs, "sys/fs/inotify")
	if err := os.MkdirAll(inotify, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(inotify, "max_user_instances")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Dir(outside), filepath.Join(h.procfs, "sys/fs/epoll")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(inotify, "max_user_watches"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(inotify, "max_queued_events"), 0o755); err != nil {
		t.Fatal(err)
	}
	o := h.pass(true, atLeast(MaxUserInstances, 99), atLeast("fs.epoll.victim", 99), atLeast(MaxUserWatches, 99),
		atLeast(MaxQueuedEvents, 99), atLeast(FileMax, 99)).Run(t.Context())
	for _, s := range o.Rules[:4] {
		if s.Outcome == InForce || s.Changed {
			t.Errorf("%s is %s", s.Key, s.Outcome)
		}
	}
	if s := o.Rules[4]; s.Outcome != InForce || !s.Changed {
		t.Errorf("the good key after the bad ones: %+v", s)
	}
	if b, _ := os.ReadFile(outside); string(b) != "1\n" {
		t.Errorf("the file outside holds %q", b)
	}
}

// A container that was given /proc/sys/fs alone cannot know what the kernel
// lacks elsewhere.
func TestNotMountedIsNotAbsent(t *testing.T) {
	procfs := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(procfs, "sys"), 0o755), os.Symlink("/proc/sys/fs", filepath.Join(procfs, "sys/fs"))); err != nil {
		t.Fatal(err)
	}
	tree, err := OpenTree(procfs)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	s := evaluate(Rule{Key: "vm.max_map_count", Op: AtLeast, Want: 1}, tree.Read("vm.max_map_count"))
	if want := "the host's /proc/sys/vm is not mounted below "; s.Outcome != Failed || !strings.HasPrefix(s.Reason, want) {
		t.Errorf("got %s: %s, want %s: %s...", s.Outcome, s.Reason, Failed, want)
	}
}

func TestReadRefusesWhatIsNoNumber(t *testing.T) {
	for _, text := range []string{"", " ", "abc", "1 2 3", "-1", "0x10", "9223372036854775808", strings.Repeat("1", 4096), "1\x00", "\xff"} {
		h := newHost(t, map[Key]string{FileMax: text})
		o := h.pass(true, atLeast(FileMax, 5)).Run(t.Context())
		if s := o.Rules[0]; s.Outcome != Failed || s.Reason == "" || strings.ContainsAny(s.Reason, "\x00\n") || !utf8.ValidString(s.Reason) {
			t.Errorf("%.20q: %+v", text, s)
		}
	}
}

func TestPause(t *testing.T) {
	h := newHost(t, map[Key]string{MaxUserInstances: "128"})
	p := h.pass(true, atLeast(MaxUserInstances, 8192))
	if err := os.MkdirAll(h.file(""), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.file(pauseName), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	o := p.Run(t.Context())
	if s := o.Rules[0]; o.Paused == "" || s.Outcome != Drifted || !strings.Contains(s.Reason, h.file(pauseName)) || h.get(MaxUserInstances) != "128" {
		t.Errorf("paused %q, status %+v, value %s", o.Paused, s, h.get(MaxUserInstances))
	}
	if _, err := p.Restore(t.Context(), none); err == nil || !strings.Contains(err.Error(), "paused") {
		t.Errorf("restore while paused: %v", err)
	}
	if err := os.Remove(h.file(pauseName)); err != nil {
		t.Fatal(err)
	}
	if s := p.Run(t.Context()).Rules[0]; s.Outcome != InForce {
		t.Errorf("after the pause: %+v", s)
	}
}

func TestPassWaitsForAnother(t *testing.T) {
	h := newHost(t, map[Key]string{MaxUserInstances: "128"})
	other := NewStore(h.root)
	defer other.Close()
	unlock, err := other.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := h.pass(true, atLeast(MaxUserInstances, 8192))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	s := p.Run(ctx).Rules[0]
	if held, ok := errors.AsType[*LockedError](s.Err); s.Outcome != Failed || !ok || held.PID != os.Getpid() {
		t.Errorf("while another holds the lock: %+v", s)
	}
	if h.get(MaxUserInstances) != "128" {
		t.Error("it wrote without the lock")
	}
	// A pod's pid would be another process's here.
	if err := os.WriteFile(filepath.Join(h.root, "run/nodetune/lock"), []byte("1 pid:[1]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = p.Run(ctx).Rules[0]
	if held, ok := errors.AsType[*LockedError](s.Err); !ok || held.PID != 0 {
		t.Errorf("while one of another pid namespace holds the lock: %+v", s)
	}
	done := make(chan PassResult)
	go func() { done <- p.Run(t.Context()) }()
	// What the other does before it lets go. No reader may see an empty file meanwhile.
	f, err := os.OpenFile(filepath.Join(h.procfs, "sys", MaxUserInstances.Path()), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("16384\n"), 0); err != nil {
		t.Fatal(err)
	}
	unlock()
	if s := (<-done).Rules[0]; s.Outcome != InForce || s.Changed || s.Value != 16384 {
		t.Errorf("after the other: %+v", s)
	}
}

// The lock is that of the file that is there now, not of one that was removed.
func TestLockSurvivesRemoval(t *testing.T) {
	root := t.TempDir()
	a, b := NewStore(root), NewStore(root)
	defer a.Close()
	defer b.Close()
	unlock, err := a.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if err := os.RemoveAll(filepath.Join(root, "run")); err != nil {
		t.Fatal(err)
	}
	unlockB, err := b.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := a.Lock(ctx); err == nil {
		t.Error("two hold the lock")
	}
	unlockB()
	if unlock, err = a.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestApplyGoesOnWithoutAStore(t *testing.T) {
	h := newHost(t, map[Key]string{MaxUserInstances: "128"})
	if err := os.WriteFile(filepath.Join(h.root, "run"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	o := h.pass(true, atLeast(MaxUserInstances, 8192)).Run(t.Context())
	if o.Rules[0].Outcome != InForce || len(o.Warnings) != 2 {
		t.Errorf("%+v: want it in force, with a warning for the lock and one for the originals", o)
	}
}

func TestStoreDoesNotLeaveTheRoot(t *testing.T) {
	h := newHost(t, map[Key]string{MaxUserInstances: "128"})
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(h.root, "run")); err != nil {
		t.Fatal(err)
	}
	h.pass(true, atLeast(MaxUserInstances, 8192)).Run(t.Context())
	if names, _ := os.ReadDir(outside); len(names) > 0 {
		t.Errorf("the store went through the link and made %s", names[0].Name())
	}
}

// Every user must see that nodetune is not paused, whatever root's umask.
func TestStoreIsOpenToReaders(t *testing.T) {
	was := unix.Umask(0o077)
	defer unix.Umask(was)
	h := newHost(t, map[Key]string{MaxUserInstances: "128"})
	h.pass(true, atLeast(MaxUserInstances, 8192)).Run(t.Context())
	for name, want := range map[string]os.FileMode{"": 0o755, originalsName: 0o644} {
		st, err := os.Stat(h.file(name))
		if err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v, mode %v, want %v", h.file(name), err, st.Mode(), want)
		}
	}
}

// TestInUseOverridesTheWait: a key that another program contests is written at
// once where it is below what is in use.
func TestInUseOverridesTheWait(t *testing.T) {
	for _, c := range []struct {
		name   string
		value  string
		needs  []Need
		wrote  bool
		reason string
	}{
		{"no need", "128", nil, false, "contested"},
		{"a pod's need", "128", []Need{{Key: MaxUserInstances, AtLeast: 16384, Why: "pod"}}, false, "contested"},
		{"in use, above the value", "128", []Need{{Key: MaxUserInstances, AtLeast: 300, Why: "use", FromUse: true}}, true, ""},
		{"in use, below the value", "4096", []Need{{Key: MaxUserInstances, AtLeast: 300, Why: "use", FromUse: true}}, false, "contested"},
		{"in use, as the value", "300", []Need{{Key: MaxUserInstances, AtLeast: 300, Why: "use", FromUse: true}}, false, "contested"},
		{"in use, above the ceiling", "128", []Need{{Key: MaxUserInstances, AtLeast: 1 << 20, Why: "use", FromUse: true}}, true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t, map[Key]string{MaxUserInstances: c.value})
			tree, err := OpenTree(h.procfs)
			if err != nil {
				t.Fatal(err)
			}
			defer tree.Close()
			store := NewStore(h.root)
			defer store.Close()
			rules := WithNeeds([]Rule{{Key: MaxUserInstances, Op: AtLeast, Want: 8192, Ceiling: 131072}}, c.needs)
			o := Pass{
				Procfs: h.procfs, Tree: tree, Store: store, Rules: rules, Act: true,
				Deferred: map[Key]string{MaxUserInstances: "contested: written again in 15m0s"},
			}.Run(t.Context())
			if s := o.Rules[0]; s.Changed != c.wrote || !strings.Contains(s.Reason, c.reason) {
				t.Errorf("written: %v (%q), want %v (%q)", s.Changed, s.Reason, c.wrote, c.reason)
			}
		})
	}
}

// TestHiddenKeys: a filesystem over /proc/sys/fs hides the keys. That is no kernel
// without them, and a file of the same name is no key.
func TestHiddenKeys(t *testing.T) {
	privtest.Host(t)
	failed := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its mounts
		failed <- func() error {
			if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
				return err
			}
			if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
				return err
			}
			if err := unix.Mount("none", "/proc/sys/fs", "tmpfs", 0, ""); err != nil {
				return err
			}
			if err := os.WriteFile("/proc/sys/fs/nr_open", []byte("9\n"), 0o644); err != nil {
				return err
			}
			tree, err := OpenTree("/proc")
			if err != nil {
				return err
			}
			defer tree.Close()
			for _, k := range []Key{MaxUserInstances, FileMax, NrOpen} {
				s := evaluate(Rule{Key: k, Op: AtLeast, Want: 1}, tree.Read(k))
				if s.Outcome != Failed || !strings.Contains(s.Reason, "hidden by another filesystem") {
					return fmt.Errorf("%s: %s (%s), want Failed", k, s.Outcome, s.Reason)
				}
			}
			if r := tree.Read("vm.max_map_count"); r.Err != nil {
				return r.Err
			}
			return nil
		}()
	}()
	if err := <-failed; err != nil {
		t.Error(err)
	}
}
