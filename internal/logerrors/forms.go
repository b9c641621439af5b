package logerrors

import (
	"bytes"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Form is how a program, or the library or runtime that it uses, reports that an
// inotify limit was reached. All texts are in lower case.
type Form struct {
	Program string
	Errno   unix.Errno // EMFILE: fs.inotify.max_user_instances, ENOSPC: fs.inotify.max_user_watches
	All     []string   // the line contains each of them,
	Any     []string   // one of these, unless empty,
	None    []string   // and none of these
}

// errno24 and errno28 are how runtimes print the two errors.
var (
	errno24 = []string{"too many open files", "errno=24", "errno=(24)", "errno 24", "errno: 24", "os error 24", "emfile"}
	errno28 = []string{"no space left on device", "errno=28", "errno=(28)", "errno 28", "errno: 28", "os error 28", "enospc"}
)

// otherCalls are calls that fail with EMFILE when the process has reached its
// own RLIMIT_NOFILE, and with ENOSPC when a disk is full. A line about a watcher
// that names one of them reports another shortage.
var otherCalls = []string{
	"socket", "dial ", "dial:", "accept", "listen ", "open /", "open:", "opening ", "openat", "pipe", "fork", "epoll", "eventfd",
	"connect", "read tcp", "lookup ", "--watch", "scandir", "lstat", "stat /", "stat:",
	"write ", "write:", ", write", "writing", "save ", "saving", "flush", "preallocate", "backup", "mkdir", "copy", "rename", "creat /", "truncate", "fsync", "sync ", "watchdog", "stopwatch", "watchtower",
	"fs.inotify.", // in the log of nodetune, which names both limits and both errors
}

// forms is the table. To add a program: one row, and its real message in
// TestForms. A row for a library covers the programs that print its error.
var forms = []Form{
	{Program: "any that names the setting", Errno: unix.EMFILE, All: []string{"inotify/max_user_instances"}},
	{Program: "any that names the setting", Errno: unix.ENOSPC, All: []string{"inotify/max_user_watches"}},
	{Program: "any that names inotify", Errno: unix.EMFILE, All: []string{"inotify"}, Any: errno24, None: []string{"fs.inotify."}},
	{Program: "any that names inotify", Errno: unix.ENOSPC, All: []string{"inotify"}, Any: errno28, None: []string{"fs.inotify."}},

	{Program: "Go, fsnotify (containerd, kubelet, kubectl)", Errno: unix.EMFILE, All: []string{"fsnotify"}, Any: errno24},
	{Program: "Go, fsnotify (containerd, kubelet, kubectl)", Errno: unix.ENOSPC, All: []string{"fsnotify"}, Any: errno28},
	{Program: "a watcher without the library's name (Go, Vector, Filebeat)", Errno: unix.EMFILE, All: []string{"watch"}, Any: errno24, None: otherCalls},
	{Program: "a watcher without the library's name (Go, Vector, Filebeat)", Errno: unix.ENOSPC, All: []string{"watch"}, Any: errno28, None: otherCalls},
	{Program: "Promtail", Errno: unix.EMFILE, All: []string{"failed to make file target manager", "too many open files"}},

	{Program: "Fluent Bit", Errno: unix.EMFILE, All: []string{"tail_fs"}, Any: errno24},
	{Program: "Fluent Bit", Errno: unix.ENOSPC, All: []string{"tail_fs"}, Any: errno28},
	{Program: "rsyslog", Errno: unix.EMFILE, All: []string{"imfile"}, Any: errno24},
	{Program: "rsyslog", Errno: unix.ENOSPC, All: []string{"imfile"}, Any: errno28},

	{Program: ".NET", Errno: unix.EMFILE, All: []string{"user limit", "on the number of inotify instances has been reached"}},
	{Program: ".NET", Errno: unix.ENOSPC, All: []string{"user limit", "on the number of inotify watches has been reached"}},
	{Program: "Java", Errno: unix.EMFILE, All: []string{"user limit of inotify instances reached"}},
	{Program: "Java", Errno: unix.ENOSPC, All: []string{"user limit of inotify watches reached"}},
	{Program: "Node.js", Errno: unix.ENOSPC, All: []string{"system limit for number of file watchers reached"}},
	{Program: "Python, watchdog", Errno: unix.EMFILE, All: []string{"inotify instance limit reached"}},
	{Program: "Python, watchdog; systemd", Errno: unix.ENOSPC, All: []string{"inotify watch limit reached"}},
	{Program: "Gradle", Errno: unix.EMFILE, All: []string{"inotify instance limit is too low"}},
	{Program: "Gradle", Errno: unix.ENOSPC, All: []string{"inotify watches limit is too low"}},
	{Program: "IntelliJ", Errno: unix.ENOSPC, All: []string{"inotify(7) watch limit is too low"}},
	{Program: "Ruby, listen", Errno: unix.ENOSPC, All: []string{"listen error: unable to monitor directories for changes"}},
	{Program: "Syncthing", Errno: unix.ENOSPC, All: []string{"failed to setup inotify handler. please increase inotify limits"}},
	{Program: "Wazuh", Errno: unix.ENOSPC, All: []string{"maximum limit of inotify watches has been reached"}},
	{Program: "lsyncd", Errno: unix.ENOSPC, All: []string{"terminating since out of inotify watches"}},
	// sd_journal_get_fd(3) returns EMFILE for an instance, for which alone journalctl
	// says the first of these.
	{Program: "journalctl", Errno: unix.EMFILE, All: []string{"insufficient watch descriptors available"}},
	{Program: "journalctl", Errno: unix.EMFILE, All: []string{"failed to get journal fd"}, Any: errno24},
	{Program: "Ruby, PHP", Errno: unix.EMFILE, All: []string{"user limit on the total number of inotify instances"}},
	{Program: "Ruby, PHP", Errno: unix.ENOSPC, All: []string{"user limit on the total number of inotify watches"}},
	{Program: "Rust, notify", Errno: unix.ENOSPC, All: []string{"os file watch limit reached"}},
	{Program: "Rust, notify", Errno: unix.ENOSPC, All: []string{"maxfileswatch"}},
	{Program: "inotify-tools", Errno: unix.ENOSPC, All: []string{"upper limit on inotify watches reached"}},
	{Program: "tail", Errno: unix.ENOSPC, All: []string{"inotify resources exhausted"}},
}

// quotes are how a line carries a record about another object: an exporter of
// Events, a collector that prints what it collects. Such a line is no error of
// the container that printed it.
var quotes = []string{
	`"involvedobject"`, `involvedobject:`, `"regarding":`, `"kubernetes":`, `"kubernetes"=>`, `"log"=>`, `"log":"`, `"log": "`, `\"log\":`,
	`"pod_name"`, `"namespace_name"`, `"container_name"`,
}

// NewForm returns the form of a configured program, whose lines contain all of
// the texts. limit is instances or watches.
func NewForm(program, limit string, texts []string) (Form, error) {
	f := Form{Program: program}
	switch limit {
	case "instances":
		f.Errno = unix.EMFILE
	case "watches":
		f.Errno = unix.ENOSPC
	default:
		return Form{}, fmt.Errorf("limit %q: it must be instances or watches", limit)
	}
	for _, s := range texts {
		if s = strings.ToLower(strings.TrimSpace(s)); s != "" {
			f.All = append(f.All, s)
		}
	}
	if n := len(strings.Join(f.All, "")); n < minFormBytes {
		return Form{}, fmt.Errorf("contains %q: %d characters match too much, give at least %d of the message", texts, n, minFormBytes)
	}
	return f, nil
}

// minFormBytes keeps a configured form from matching every log.
const minFormBytes = 8

// matches reports whether a line in lower case has this form.
func (f *Form) matches(line []byte) bool {
	has := func(s string) bool { return bytes.Contains(line, []byte(s)) }
	for _, s := range f.All {
		if !has(s) {
			return false
		}
	}
	for _, s := range f.None {
		if has(s) {
			return false
		}
	}
	for _, s := range f.Any {
		if has(s) {
			return true
		}
	}
	return len(f.Any) == 0
}

// Errno returns the error of an inotify limit that the last such line of text
// reports, or 0. more are forms beside the table.
func Errno(text []byte, more ...Form) unix.Errno {
	errno := unix.Errno(0)
	for line := range bytes.Lines(bytes.ToLower(text)) {
		if e := errnoOf(line, more); e != 0 {
			errno = e
		}
	}
	return errno
}

func errnoOf(line []byte, more []Form) unix.Errno {
	for _, q := range quotes {
		if bytes.Contains(line, []byte(q)) {
			return 0
		}
	}
	for _, table := range [...][]Form{forms, more} {
		for i := range table {
			if table[i].matches(line) {
				return table[i].Errno
			}
		}
	}
	return 0
}
