package guard

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"github.com/nodetune/nodetune/internal/privtest"
	"github.com/nodetune/nodetune/sysctl"
)

func guardUntilKilled() error {
	g, err := Open(options(Hold, 8192))
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, "attached", g.ProgramID())
	for {
		time.Sleep(time.Minute)
		runtime.KeepAlive(g) // the garbage collector would detach it
	}
}

func programs(t *testing.T) []uint32 {
	t.Helper()
	all, err := Programs(cgroupfs)
	if err != nil {
		t.Fatal(err)
	}
	var ids []uint32
	for _, p := range all {
		ids = append(ids, p.ID)
	}
	return ids
}

// TestNothingStays: what is attached goes with the process that attached it,
// however that ends.
func TestNothingStays(t *testing.T) {
	privtest.Host(t)
	before := programs(t)
	w := newWriter(t, "writer", nil)
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		cmd := exec.CommandContext(t.Context(), executable(t))
		cmd.Env = append(os.Environ(), roleEnv+"=guard")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var id uint32
		line, err := bufio.NewReader(out).ReadString('\n')
		if _, err2 := fmt.Sscanf(line, "attached %d", &id); err != nil || err2 != nil {
			t.Fatalf("%v: got %q", err, line)
		}
		if ids := programs(t); !slices.Contains(ids, id) {
			t.Errorf("program %d is not among %v", id, ids)
		}
		set(t, key, 8192) // another process's, but not below the floor
		if w.write(key, "5000\n"); get(t, key) != 8192 {
			t.Errorf("%s is not held at 8192, but %s", key, get(t, key))
		}
		_ = cmd.Process.Signal(signal)
		_ = cmd.Wait()
		if ids := programs(t); !slices.Equal(ids, before) {
			t.Errorf("after %v programs %v are attached, before it were %v", signal, ids, before)
		}
		if w.write(key, "5000\n"); get(t, key) != 5000 {
			t.Errorf("after %v %s is still held: %s", signal, key, get(t, key))
		}
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			p, err := ebpf.NewProgramFromID(ebpf.ProgramID(id)) // the kernel frees it some time later
			if err != nil {
				break
			}
			p.Close()
			if time.Now().After(deadline) {
				t.Fatalf("after %v program %d is still in the kernel", signal, id)
			}
		}
	}
}

// other attaches a program of another owner, which makes each write of the key
// max_queued_events one of this text of four characters, or changes nothing.
func other(t *testing.T, name, text string) link.Link {
	t.Helper()
	ins := asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1)}
	if text != "" {
		word := int32(text[0]) | int32(text[1])<<8 | int32(text[2])<<16 | int32(text[3])<<24
		ins = append(ins,
			asm.LoadMem(asm.R0, asm.R1, 0, asm.Word),
			asm.JEq.Imm(asm.R0, 0, "allow"),
			// The base name, of which max_q is enough.
			asm.Mov.Imm(asm.R0, 0), asm.StoreMem(asm.RFP, -8, asm.R0, asm.DWord), asm.StoreMem(asm.RFP, -16, asm.R0, asm.DWord), asm.StoreMem(asm.RFP, -24, asm.R0, asm.DWord),
			asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, -24), asm.Mov.Imm(asm.R3, 24), asm.Mov.Imm(asm.R4, 1),
			asm.FnSysctlGetName.Call(),
			asm.LoadMem(asm.R0, asm.RFP, -20, asm.Byte),
			asm.JNE.Imm(asm.R0, 'q', "allow"),
			asm.StoreImm(asm.RFP, -8, int64(word), asm.Word),
			asm.Mov.Reg(asm.R1, asm.R6),
			asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, -8), asm.Mov.Imm(asm.R3, 4),
			asm.FnSysctlSetNewValue.Call(),
		)
	}
	ins = append(ins, asm.Mov.Imm(asm.R0, 1).WithSymbol("allow"), asm.Return())
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: name, Type: ebpf.CGroupSysctl, AttachType: ebpf.AttachCGroupSysctl, Instructions: ins, License: "GPL"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	root, err := openRoot(cgroupfs)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	l, err := link.AttachRawLink(link.RawLinkOptions{Target: int(root.Fd()), Program: p, Attach: ebpf.AttachCGroupSysctl})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// TestBesideOthers: programs of others stay, run in the order in which they were
// attached, and are listed in it. The last one decides.
func TestBesideOthers(t *testing.T) {
	privtest.Host(t)
	w := newWriter(t, "writer", nil)
	before := other(t, "before", "5000")
	g := open(t, options(Hold, 8192))
	if !g.replaces {
		t.Skip("this kernel heeds no value that a program sets: the order shows nowhere")
	}
	w.write(key, "9000\n")
	if got := get(t, key); got != 8192 {
		t.Errorf("a program before has the last word: %s", got)
	}
	if r := read(t, g); r.New != 5000 || r.Effective != 8192 {
		t.Errorf("got %+v, want what the program before has made of it", r)
	}
	after := other(t, "after", "6000")
	w.write(key, "9000\n")
	if got := get(t, key); got != 6000 {
		t.Errorf("with a program after, the key holds %s, want 6000", got)
	}
	if r := read(t, g); r.Effective != 8192 {
		t.Errorf("got %+v", r)
	}
	all, err := Programs(cgroupfs)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range all {
		names = append(names, p.Name)
		if p.Own != (p.ID == g.ProgramID()) {
			t.Errorf("program %+v, the guard's is %d", p, g.ProgramID())
		}
	}
	if !strings.HasSuffix(strings.Join(names, " "), "before nodetune_task after") {
		t.Errorf("listed %v", names)
	}
	after.Close()
	before.Close()
	second := open(t, options(Hold, 8192)) // as an agent that starts before the old one has ended
	w.write(key, "5000\n")
	if r := read(t, g); r.New != 5000 || !r.Held {
		t.Errorf("got %+v", r)
	}
	second.Close()
	w.write(key, "7000\n")
	if got := get(t, key); got != 8192 {
		t.Errorf("alone again: the key holds %s", got)
	}
}

// TestPrivateMount: without cgroup v2 a mount that is in no mount table serves.
func TestPrivateMount(t *testing.T) {
	privtest.Host(t)
	set(t, key, 8192)
	mounts := func() string {
		b, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	before := mounts()
	o := options(Hold, 8192)
	o.Cgroupfs = t.TempDir()
	g := open(t, o)
	if now := mounts(); now != before {
		t.Errorf("the mount table has changed from\n%s\nto\n%s", before, now)
	}
	w := newWriter(t, "writer", nil)
	w.write(key, "5000\n")
	if r := read(t, g); !r.Held || get(t, key) != 8192 {
		t.Errorf("got %+v, the key holds %s", r, get(t, key))
	}
	if ids := programs(t); !slices.Contains(ids, g.ProgramID()) {
		t.Errorf("program %d is not among %v of the mounted hierarchy", g.ProgramID(), ids)
	}
}

// TestCgroups: a process in a cgroup, one below that, and one that moves are
// seen, and their cgroups read.
func TestCgroups(t *testing.T) {
	privtest.Host(t)
	root, err := openRoot(cgroupfs)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	const pod = "kubepods/burstable/pod01234567-89ab-cdef-0123-456789abcdef"
	container := strings.Repeat("0123456789abcdef", 4)
	// Where controllers use cgroup v1, the memory controller's says which pod it is.
	top := root.Name()
	if _, err := os.Stat("/sys/fs/cgroup/memory/cgroup.procs"); err == nil {
		top = "/sys/fs/cgroup/memory"
	}
	var dirs []string
	deep := pod + "/" + container + strings.Repeat("/below", 12)
	for dir := filepath.Join(top, deep); dir != top; dir = filepath.Dir(dir) {
		dirs = append(dirs, dir)
	}
	if err := os.MkdirAll(dirs[0], 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, dir := range dirs {
			for range 100 {
				if err := os.Remove(dir); err == nil || os.IsNotExist(err) || dir == filepath.Join(top, "kubepods") {
					break
				}
				time.Sleep(20 * time.Millisecond)
			}
		}
	})
	g := open(t, options(Observe, 8192))
	w := newWriter(t, "writer", nil)
	for _, c := range []struct{ cgroup, container string }{
		{deep, container},
		{pod + "/" + container + "/below", container},
		{pod + "/" + container, container},
		{pod, ""},
		{pod + "/" + container, container},
	} {
		w.cgroup = filepath.Join(top, c.cgroup, "cgroup.procs")
		w.write(key, "5000\n")
		r := read(t, g)
		of := r.Workload()
		if c.cgroup == deep { // the outermost names alone
			c.cgroup = pod + "/" + container + "/below"
			if strings.Count(r.Cgroup, "/") != 8 || !strings.Contains(r.Cgroup, c.cgroup) {
				t.Errorf("got %q of a deep cgroup", r.Cgroup)
			}
			r.Cgroup = c.cgroup
		}
		if !strings.HasSuffix(r.Cgroup, c.cgroup) || of.PodUID != filepath.Base(pod)[3:] || of.ContainerID != c.container {
			t.Errorf("got %+v, of %+v, want one in %s", r, of, c.cgroup)
		}
	}
	if top != root.Name() {
		return
	}
	// Without names of the kernel's, the id of version 2 leads to the path.
	var st syscall.Stat_t
	if err := syscall.Stat(filepath.Join(top, pod), &st); err != nil {
		t.Fatal(err)
	}
	var names cgroupNames
	for range 2 {
		if got := names.path(root, st.Ino); got != "/"+pod {
			t.Errorf("cgroup %d is %q, want /%s", st.Ino, got, pod)
		}
	}
	if got := names.path(root, 1<<60); got != "" {
		t.Errorf("a cgroup that does not exist is %q", got)
	}
	if got := names.path(root, rootInode); got != "/" {
		t.Errorf("the root is %q", got)
	}
}

// TestNeverBelow: while another process writes 128 as fast as it can, a million
// reads of the limit, and calls that it bounds, never meet one below the floor.
func TestNeverBelow(t *testing.T) {
	privtest.Host(t)
	const floor = 1024
	limit := sysctl.MaxUserInstances
	set(t, limit, floor)
	g := open(t, Options{Procfs: "/proc", Cgroupfs: cgroupfs, Mode: Hold, Floors: map[sysctl.Key]sysctl.Value{limit: floor}})
	stop := startFlood(t, limit)
	deadline := time.Now().Add(20 * time.Second)
	for { // until it writes
		if c, err := g.Counts(); err != nil {
			t.Fatal(err)
		} else if c[limit].Held > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no write within 20 s")
		}
	}
	reads, calls := million(t, limit, floor)
	stop()
	c, err := g.Counts()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d reads and %d calls of inotify_init1 beside %d writes of 128", reads, calls, c[limit].Held)
	if c[limit].Held < 1000 || c[limit].Lowered != c[limit].Held {
		t.Errorf("counted %+v", c[limit])
	}
}
