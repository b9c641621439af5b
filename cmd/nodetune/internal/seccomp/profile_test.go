package seccomp

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// profiles are the files of deploy/seccomp: profiles for a container runtime, which
// allow what the agent calls and nothing else. They hold from before the agent's
// first instruction, also for what `kubectl exec` starts in its container.
var profiles = map[string][]string{
	"nodetune.json": nil,
	// For the components bpf, refusals and guard.
	"nodetune-bpf.json": {"bpf", "perf_event_open", "fsconfig", "fsmount", "fsopen"},
}

// allowed are the calls of both: what strace(1) shows of the agent and of the tests
// of the packages that change files, what the Go runtime falls back to, and what runc
// and crun call between their filter and the start of the program.
var allowed = []string{
	// Files. A filter sees no path, and of openat2(2) no flag either.
	"access", "faccessat", "faccessat2", "openat", "openat2", "close", "close_range",
	"fstat", "newfstatat", "statx", "statfs", "fstatfs", "readlinkat", "getdents64", "getcwd",
	"read", "readv", "pread64", "lseek", "write", "writev", "pwrite64", "copy_file_range", "sendfile", "splice",
	"fcntl", "flock", "ioctl", "fsync", "fdatasync", "ftruncate", "truncate", "fallocate",
	"fchmod", "fchmodat", "fchown", "fchownat", "utimensat", "umask",
	"mkdirat", "unlinkat", "renameat", "renameat2", "linkat", "symlinkat",
	"getxattr", "fgetxattr", "listxattr", "flistxattr", "setxattr", "fsetxattr", "removexattr", "fremovexattr",
	"inotify_init1", "inotify_add_watch", "inotify_rm_watch", "kcmp", "ioprio_set",
	// The network, and waiting for it: see also families.
	"bind", "listen", "accept4", "connect", "shutdown", "getsockname", "getpeername", "getsockopt", "setsockopt",
	"sendto", "sendmsg", "sendmmsg", "recvfrom", "recvmsg", "recvmmsg",
	"epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "eventfd2", "pipe2", "poll", "ppoll", "pselect6", "dup", "dup3",
	// Memory, threads, time and signals: the Go runtime.
	"brk", "mmap", "mprotect", "mremap", "munmap", "madvise", "mincore", "membarrier", "getrandom",
	"futex", "gettid", "getpid", "getppid", "sched_getaffinity", "sched_yield", "set_robust_list", "set_tid_address", "rseq",
	"nanosleep", "clock_nanosleep", "clock_gettime", "clock_getres", "gettimeofday", "setitimer",
	"timer_create", "timer_settime", "timer_gettime", "timer_delete",
	"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall", "kill", "tkill", "tgkill",
	"exit", "exit_group", "arch_prctl", "prctl", "prlimit64", "getrlimit", "setrlimit", "getrusage", "uname", "sysinfo",
	// Who this is, and who else is there.
	"getuid", "geteuid", "getgid", "getegid", "getgroups", "capget", "setresuid",
	"pidfd_open", "pidfd_send_signal", "wait4", "waitid",
	// The runtime starts the agent, and the agent confines itself.
	"capset", "setuid", "setgid", "setgroups", "setresgid", "chdir", "fchdir", "execve", "seccomp",
}

// families are those of the sockets: to the API server, the metrics, the container
// runtime, and the list of interfaces.
var families = []uint64{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK}

// A profile is LinuxSeccomp of the OCI runtime's specification. It names no
// architecture: the runtime takes its own, and the calls of another one fail.
type profile struct {
	DefaultAction string `json:"defaultAction"`
	Syscalls      []rule `json:"syscalls"`
}

type rule struct {
	Names    []string   `json:"names"`
	Action   string     `json:"action"`
	ErrnoRet *uint      `json:"errnoRet,omitempty"`
	Args     []argument `json:"args,omitempty"`
}

type argument struct {
	Index    uint   `json:"index"`
	Value    uint64 `json:"value"`
	ValueTwo uint64 `json:"valueTwo,omitempty"`
	Op       string `json:"op"`
}

func newProfile(more []string) profile {
	names := slices.Sorted(slices.Values(slices.Concat(allowed, more)))
	enosys := uint(unix.ENOSYS)
	p := profile{DefaultAction: "SCMP_ACT_ERRNO", Syscalls: []rule{
		{Names: names, Action: "SCMP_ACT_ALLOW"},
		// A thread, and no process.
		{Names: []string{"clone"}, Action: "SCMP_ACT_ALLOW", Args: []argument{{0, unix.CLONE_THREAD, unix.CLONE_THREAD, "SCMP_CMP_MASKED_EQ"}}},
		// A filter cannot see its arguments: callers fall back to clone(2).
		{Names: []string{"clone3"}, Action: "SCMP_ACT_ERRNO", ErrnoRet: &enosys},
	}}
	for _, f := range families {
		p.Syscalls = append(p.Syscalls, rule{Names: []string{"socket"}, Action: "SCMP_ACT_ALLOW", Args: []argument{{Value: f, Op: "SCMP_CMP_EQ"}}})
	}
	return p
}

// The files are the list above: UPDATE_GOLDEN=1 writes them.
func TestProfiles(t *testing.T) {
	for name, more := range profiles {
		want, err := json.MarshalIndent(newProfile(more), "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, '\n')
		path := filepath.Join("../../../../deploy/seccomp", name)
		if os.Getenv("UPDATE_GOLDEN") == "1" {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != string(want) {
			t.Errorf("%s is not what the list makes (%v): UPDATE_GOLDEN=1 go test ./cmd/nodetune/internal/seccomp", path, err)
		}
	}
}

// A profile allows nothing that the agent denies itself, but the call by which the
// runtime starts it.
func TestProfilesDenyWhatTheAgentDenies(t *testing.T) {
	names := append(deniedNames(t), "fork", "vfork", "mknod", "uselib", "modify_ldt", "iopl", "ioperm")
	if len(names) < len(denied)+len(deniedOn[unix.AUDIT_ARCH_X86_64]) {
		t.Fatalf("found the names of %d calls, %d are denied", len(names), len(denied))
	}
	for name, more := range profiles {
		for _, r := range newProfile(more).Syscalls {
			for _, call := range r.Names {
				if r.Action == "SCMP_ACT_ALLOW" && call != "execve" && slices.Contains(names, call) {
					t.Errorf("%s allows %s", name, call)
				}
			}
		}
	}
	if all := slices.Sorted(slices.Values(allowed)); len(slices.Compact(slices.Clone(all))) != len(all) {
		t.Errorf("a call is listed twice: %q", all)
	}
}

// deniedNames reads the names of denied from the source: x/sys has numbers only.
func deniedNames(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "seccomp.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok {
			return v.Names[0].Name == "denied"
		}
		if _, ok := n.(*ast.FuncDecl); ok {
			return false
		}
		if s, ok := n.(*ast.SelectorExpr); ok {
			if name, ok := strings.CutPrefix(s.Sel.Name, "SYS_"); ok {
				names = append(names, strings.ToLower(name))
			}
		}
		return true
	})
	return names
}
