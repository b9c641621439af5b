package logerrors

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// messages are printed by real programs. Every row of the table has one.
var messages = []struct {
	program string
	text    string
	want    unix.Errno
}{
	{"Fluent Bit", "[2026/11/30 10:00:00] [error] [plugins/in_tail/tail_fs_inotify.c:360 errno=24] Too many open files", unix.EMFILE},
	{"Fluent Bit", "[error] [plugins/in_tail/tail_fs.c:148 errno=28] No space left on device", unix.ENOSPC},
	{"Fluent Bit", "[error] [/src/tail_fs.c:305 errno=24] Too many open files", unix.EMFILE},
	{"Promtail", `level=error caller=main.go:169 msg="error creating promtail" error="failed to make file target manager: too many open files"`, unix.EMFILE},
	{"Promtail", `level=error caller=filetargetmanager.go:263 msg="Failed to create target" error="filetarget.fsnotify.NewWatcher: too many open files"`, unix.EMFILE},
	{"Go, config reloader", "add config file /var/lib/agent/agent.yml to watcher: create watcher: too many open files", unix.EMFILE},
	{"Go, fsnotify", "failed to create fsnotify watcher: no space left on device", unix.ENOSPC},
	{"containerd", `level=fatal msg="Failed to run CRI service" error="failed to create cni conf monitor for default: failed to create fsnotify watcher: too many open files"`, unix.EMFILE},
	{"kubelet", "unable to create watcher for lockfile: inotify_init: too many open files", unix.EMFILE},
	{"kubelet", `"Failed to start cAdvisor" err="inotify_add_watch /sys/fs/cgroup/kubepods.slice: no space left on device"`, unix.ENOSPC},
	{"kubelet", `E1130 kubelet.go:1466] "Failed to start cAdvisor" err="inotify_init: too many open files"`, unix.EMFILE},
	{"kubectl", "failed to create fsnotify watcher: too many open files", unix.EMFILE},
	{"Filebeat", `{"log.level":"error","message":"Error creating runner from config: failed to create file watcher: too many open files"}`, unix.EMFILE},
	{"Auditbeat", `ERROR [file_integrity] Failed to add watch for /etc: no space left on device`, unix.ENOSPC},
	{"Vector", `ERROR vector::app: Unable to start config watcher. error=Too many open files (os error 24)`, unix.EMFILE},
	{"Vector", `ERROR vector::config::watcher: Failed to watch file. error=No space left on device (os error 28)`, unix.ENOSPC},
	{"rsyslog", "rsyslogd: imfile: cannot watch object '/var/log/pods': No space left on device [v8.2302.0 try https://www.rsyslog.com/e/2027 ]", unix.ENOSPC},
	{"rsyslog", "rsyslogd: imfile: inotify_init() failed: Too many open files", unix.EMFILE},
	{"rsyslog", "rsyslogd: imfile: could not initialise: Too many open files", unix.EMFILE},
	{"syslog-ng", "Error creating inotify instance; error='Too many open files (24)'", unix.EMFILE},
	{".NET", "Unhandled exception. System.IO.IOException: The configured user limit (128) on the number of inotify instances has been reached, or the per-process limit on the number of open file descriptors has been reached.", unix.EMFILE},
	{".NET", "System.IO.IOException: The configured user limit (8192) on the number of inotify watches has been reached.", unix.ENOSPC},
	{"Java", "Caused by: java.io.IOException: User limit of inotify instances reached or too many open files", unix.EMFILE},
	{"Java", "Caused by: java.io.IOException: User limit of inotify watches reached", unix.ENOSPC},
	{"Node.js", "Error: ENOSPC: System limit for number of file watchers reached, watch '/app/app-config.yaml'", unix.ENOSPC},
	{"Node.js", "Error: EMFILE: too many open files, watch '/app/src'", unix.EMFILE},
	{"Node.js, older", "Error: watch /app ENOSPC", unix.ENOSPC},
	{"Python, watchdog", "OSError: [Errno 24] inotify instance limit reached", unix.EMFILE},
	{"Python, watchdog", "OSError: [Errno 28] inotify watch limit reached", unix.ENOSPC},
	{"Python, watchfiles", "_rust_notify.WatchfilesRustInternalError: error in underlying watcher: OS file watch limit reached. about [\"/app\"]", unix.ENOSPC},
	{"Python, pyinotify", "pyinotify.WatchManagerError: add_watch: cannot watch /app WD=-1, Errno=No space left on device (ENOSPC)", unix.ENOSPC},
	{"Rust, notify", "thread 'main' panicked at src/main.rs: called `Result::unwrap()` on an `Err` value: Error { kind: MaxFilesWatch, paths: [\"/app\"] }", unix.ENOSPC},
	{"Rust, notify", "failed to create watcher: Io(Os { code: 24, kind: Uncategorized, message: \"Too many open files\" })", unix.EMFILE},
	{"Ruby, rb-inotify", "Errno::EMFILE: Too many open files - Failed to initialize inotify: the user limit on the total number of inotify instances has been reached.", unix.EMFILE},
	{"Ruby, rb-inotify", "Errno::ENOSPC: Failed to watch \"/app\": The user limit on the total number of inotify watches was reached", unix.ENOSPC},
	{"PHP", "PHP Warning: inotify_init(): The user limit on the total number of inotify instances has been reached", unix.EMFILE},
	{"systemd", "Failed to allocate directory watch: Too many open files", unix.EMFILE},
	{"systemd", "Failed to add a watch for /run/systemd/ask-password: inotify watch limit reached", unix.ENOSPC},
	{"dnsmasq", "dnsmasq: failed to create inotify: Too many open files", unix.EMFILE},
	{"tail", "tail: inotify cannot be used, reverting to polling: Too many open files", unix.EMFILE},
	{"tail", "tail: inotify resources exhausted", unix.ENOSPC},
	{"Grafana Alloy", "Error: /etc/alloy/config.alloy:1:1: Failed to build component: building component: failed to create watcher: too many open files", unix.EMFILE},
	{"CRI-O", `level=fatal msg="validating runtime config: unable to create new watch: too many open files"`, unix.EMFILE},
	{"Logstash", `[ERROR][logstash.agent] Failed to execute action {:exception=>"Java::JavaIo::IOException", :message=>"User limit of inotify instances reached or too many open files"}`, unix.EMFILE},
	{"kubelet", `E1130 10:00:00 1 file_linux.go:61] "Unable to read config path" err="unable to create inotify: too many open files"`, unix.EMFILE},
	{"Prometheus", `level=error msg="Error creating file watcher" component="discovery manager scrape" err="too many open files"`, unix.EMFILE},
	{"VS Code", "[File Watcher ('parcel')] Inotify limit reached (ENOSPC) (path: /w)", unix.ENOSPC},
	{"webpack", "Watchpack Error (watcher): Error: ENOSPC: System limit for number of file watchers reached, watch '/usr/src/app/a'", unix.ENOSPC},
	{"nodemon", "[nodemon] Internal watch failed: watch /app ENOSPC", unix.ENOSPC},
	{"Python, inotify", "inotify.calls.InotifyError: Call failed (should not be -1): (-1) ERRNO=(28)", unix.ENOSPC},
	{"Python, inotify", "inotify.calls.InotifyError: Call failed (should not be -1): (-1) ERRNO=(24)", unix.EMFILE},
	{"Gradle", "Unable to watch the file system for changes. The inotify watches limit is too low.", unix.ENOSPC},
	{"Gradle", "Gradle was unable to watch the file system for changes. The inotify instance limit is too low. See https://docs.gradle.org/current/userguide/gradle_daemon.html for more details.", unix.EMFILE},
	{"IntelliJ", "External file changes sync may be slow: The current inotify(7) watch limit is too low.", unix.ENOSPC},
	{"Ruby, listen", "FATAL: Listen error: unable to monitor directories for changes.", unix.ENOSPC},
	{"Syncthing", `Failed to start filesystem watcher for folder "x" (abc): failed to setup inotify handler. Please increase inotify limits, see https://docs.syncthing.net/users/faq.html#inotify-limits`, unix.ENOSPC},
	{"Wazuh", "ossec-syscheckd: ERROR: (6700): Unable to add inotify watch to real time monitoring: '/etc'. '-1' '28': The maximum limit of inotify watches has been reached.", unix.ENOSPC},
	{"lsyncd", "Error: Terminating since out of inotify watches.", unix.ENOSPC},
	{"journalctl", "Insufficient watch descriptors available. Reverting to -n.", unix.EMFILE},
	{"journalctl, older", "Failed to get journal fd: Too many open files", unix.EMFILE},
	{"dovecot", "Inotify instance limit for user 143 (UID dovecot) exceeded, disabling. Increase /proc/sys/fs/inotify/max_user_instances", unix.EMFILE},
	{"watchman", "The user limit on the total number of inotify watches was reached; increase the fs.inotify.max_user_watches sysctl", unix.ENOSPC},
	{"udev", "systemd-udevd[333]: inotify_add_watch(9, /dev/sda1, 10) failed: No space left on device", unix.ENOSPC},
	{"tail", "tail: cannot watch '/var/log/a': No space left on device", unix.ENOSPC},
	{"inotify-tools", "Couldn't initialize inotify: Too many open files\nTry increasing the value of /proc/sys/fs/inotify/max_user_instances", unix.EMFILE},
	{"inotify-tools", "Failed to watch /w; upper limit on inotify watches reached!", unix.ENOSPC},
	{"inotify-tools", "Please increase the amount of inotify watches allowed per user via `/proc/sys/fs/inotify/max_user_watches'.", unix.ENOSPC},
}

// others are about another shortage, or about another object.
var others = []string{
	"",
	"accept: too many open files",
	"write /data/db: no space left on device",
	"inotify is fine\nwrite: no space left on device",
	"2026/11/30 10:00:00 [alert] 7#7: *1 socket() failed (24: Too many open files) while connecting to upstream",
	"http: Accept error: accept tcp [::]:8080: accept4: too many open files; retrying in 5ms",
	`reflector.go:147: Failed to watch *v1.Pod: Get "https://10.0.0.1:443/api/v1/pods?watch=true": dial tcp 10.0.0.1:443: socket: too many open files`,
	"watchdog: write /data/state: no space left on device",
	"stopwatch exceeded; mkdir /data/tmp: no space left on device",
	"config watcher: open /etc/app/config.yaml: too many open files",
	"the watcher could not start: fork/exec /bin/sh: too many open files",
	"java.net.SocketException: Too many open files",
	"java.io.IOException: No space left on device",
	"OSError: [Errno 24] Too many open files: '/app/data'",
	"OSError: [Errno 28] No space left on device",
	"Error: ENOSPC: no space left on device, write",
	"Error: EMFILE: too many open files, open '/app/data'",
	"thread panicked: Os { code: 24, kind: Uncategorized, message: \"Too many open files\" }",
	`"msg":"a rule is not in force","key":"fs.inotify.max_user_watches","reason":"past 8192 watches of a user a collector gets errno=28 (ENOSPC)"`,
	`"msg":"a container's log ends with the error of a limit that was raised","namespace":"shop","pod":"promtail-0","container":"promtail","errno":24`,
	"failed to list *v1.Pod: read tcp: too many open files while watching",
	"kubectl get pods --watch: unable to connect: too many open files",
	`caller=db.go msg="compaction failed" component="watcher" err="preallocate: no space left on device"`,
	"[webpack-dev-server] Watching; Error: ENOSPC: no space left on device, write",
	"nodejs watch: Error: EMFILE: too many open files, scandir '/app/node_modules'",
	"Error: EMFILE: too many open files, lstat '/app/watch/a'",
	"[watcher] failed to save checkpoint: no space left on device",
	"failed to flush watch cache to disk: no space left on device",
	"watch: lookup example.com: too many open files",
	"WAL watcher: error opening segment: open /prometheus/wal/000: too many open files",
	"warning: 8000 of 8192 inotify watches are in use",
	"failed to add inotify watcher for dir, allowed inotify watchers:3000", // a limit of the program's own
	// An exporter of Events, and collectors that print what they collect.
	`{"involvedObject":{"kind":"Pod","name":"web-0"},"message":"failed to create fsnotify watcher: too many open files"}`,
	`[0] kube.var.log.containers.web: [[1700000000.0, {}], {"log"=>"failed to create fsnotify watcher: too many open files"}]`,
	`{"log":"failed to create fsnotify watcher: too many open files\n","stream":"stderr","kubernetes":{"pod_name":"web-0"}}`,
}

func TestForms(t *testing.T) {
	used := make([]bool, len(forms))
	for _, m := range messages {
		if got := Errno([]byte(m.text)); got != m.want {
			t.Errorf("%s: %q: %v, want %v", m.program, m.text, got, m.want)
		}
		for line := range strings.Lines(strings.ToLower(m.text)) {
			for i := range forms {
				used[i] = used[i] || forms[i].Errno == m.want && forms[i].matches([]byte(line))
			}
		}
	}
	for i, ok := range used {
		if !ok {
			t.Errorf("no message shows the form %+v", forms[i])
		}
	}
	for _, text := range others {
		if got := Errno([]byte(text)); got != 0 {
			t.Errorf("%q: %v, want none", text, got)
		}
	}
}

func TestNewForm(t *testing.T) {
	for _, tt := range []struct {
		limit string
		texts []string
		want  unix.Errno
	}{
		{"instances", []string{"Cannot observe", "Config dir"}, unix.EMFILE},
		{"watches", []string{"observer table full"}, unix.ENOSPC},
		{"descriptors", []string{"observer table full"}, 0},
		{"watches", []string{"full"}, 0},
		{"watches", []string{" ", ""}, 0},
		{"watches", nil, 0},
	} {
		f, err := NewForm("acme", tt.limit, tt.texts)
		if (err == nil) != (tt.want != 0) {
			t.Errorf("%s %q: %v", tt.limit, tt.texts, err)
		}
		if err != nil {
			continue
		}
		line := []byte("x " + strings.Join(tt.texts, ": ") + "\n")
		if Errno(line) != 0 || Errno(line, f) != tt.want {
			t.Errorf("%q: %v without the form, %v with it, want %v", line, Errno(line), Errno(line, f), tt.want)
		}
	}
}

// What the configuration names is found like what the table names, and is bounded.
func TestFormsOfRules(t *testing.T) {
	forms, errs := Forms([]Rule{
		{Program: "acme", Limit: "watches", Contains: []string{"Observer table", "FULL"}},
		{Program: "acme", Limit: "instances", Contains: []string{"cannot observe"}},
	})
	if len(forms) != 2 || errs != nil {
		t.Fatalf("%v, %v", forms, errs)
	}
	for text, want := range map[string]unix.Errno{
		"E: observer TABLE is full\n":          unix.ENOSPC,
		"E: Cannot observe /etc\n":             unix.EMFILE,
		"E: the table of observers\n":          0,
		"observer table\nfull\n":               0,
		`{"log":"cannot observe /etc"}` + "\n": 0,
	} {
		if got := Errno([]byte(text), forms...); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	if _, errs := Forms(make([]Rule, maxRules+1)); len(errs) != 1 {
		t.Errorf("%d rules: %v", maxRules+1, errs)
	}
}
