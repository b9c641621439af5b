package alerts_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/nodetune/nodetune/e2e/cluster"
	"github.com/nodetune/nodetune/internal/shelltest"
)

// reads are commands that change nothing, by how they begin. A script with only such
// commands runs as it is on a page.
var reads = []string{
	"nodetune check", "nodetune top", "nodetune disk", "nodetune why", "nodetune explain", "nodetune config",
	"awk", "cat", "curl -s", "dmesg", "du", "findmnt", "grep", "gzip -t", "gzip -dc", "head", "journalctl -u", "ls", "ps", "sort", "systemctl status", "tail",
}

// changes are commands that change something. They run on stand-ins, see [standIns].
var changes = []string{"kill -QUIT", "prlimit --pid", "rm ", "umount -f -l"}

// elsewhere are commands that other tests parse or run: TestRunbookCommandsParse and those
// of apply, restore and reclaim, TestPlugin on a cluster. journalctl would remove the
// journal of this machine.
var elsewhere = []string{"nodetune apply", "nodetune restore", "nodetune disk reclaim --until 80%", "kubectl", "journalctl --vacuum-size=", "mount -o"}

// exits are codes other than 0 of commands that work.
var exits = map[string][]int{
	"nodetune":   {1, 2}, // something is not as wanted: this node is in trouble, or the file is wrong
	"gzip":       {1},    // the archive is corrupt
	"systemctl":  {1, 3, 4},
	"journalctl": {1}, // no journal here
	"dmesg":      {1}, // no right to read it
	"prlimit":    {1}, // no CAP_SYS_RESOURCE
	"grep":       {1},
}

// paused are the pages about a node whose agent does not write.
var paused = []string{"NodetuneSysctlDrift.md", "NodetunePauseForgotten.md"}

// tooYoung is the page about archives, which nodetune reads when they are a minute old.
const tooYoung = "NodetuneCorruptArchive.md"

// notHere are scripts whose sample needs a broken disk or server.
var notHere = []string{"journalctl -u", "dmesg", "ps -eo", "findmnt", "ls -l"}

// A page's commands run on a node in trouble, and show there what the page shows.
func TestRunbookCommands(t *testing.T) {
	s := newScene(t)
	replace, path := standIns(t, s)
	run := func(ctx context.Context, name, text string) (string, error) {
		cmd := exec.CommandContext(ctx, "bash", "-c", "set -o pipefail\n"+replace.Replace(text))
		cmd.Env = append(os.Environ(), "PATH="+path+":"+os.Getenv("PATH"), "LC_ALL=C", "ROOT="+filepath.Join(s.dir, "root"), "CONFIG="+filepath.Join(s.dir, "nodetune.yaml"))
		if slices.Contains(paused, name) {
			cmd.Env = append(cmd.Env, "ROOT="+filepath.Join(s.dir, "paused"), "CONFIG=")
		}
		b, err := cmd.CombinedOutput()
		out := strings.NewReplacer(s.dir+"/root/", "/", s.dir+"/paused/", "/", path+"/", "").Replace(string(b))
		program, _, _ := strings.Cut(strings.TrimPrefix(text, "sudo "), " ")
		if err != nil && !slices.Contains(exits[program], cmd.ProcessState.ExitCode()) || strings.Contains(out, "unrecognized") || strings.Contains(out, "sage: ") {
			return out, fmt.Errorf("%s: %s", fmt.Sprint(err), out)
		}
		return out, nil
	}
	files, err := filepath.Glob("../../docs/runbooks/*.md")
	if err != nil || len(files) < 25 {
		t.Fatalf("found %q (%v)", files, err)
	}
	ran, samples := map[string]bool{}, 0
	for _, file := range files {
		name, text := filepath.Base(file), read(t, file)
		for _, script := range shelltest.Scripts(text, "curl", "du", "gzip", "journalctl", "kill", "kubectl", "ls", "nodetune", "prlimit", "rm", "systemctl", "umount") {
			var all []string
			for _, command := range shelltest.Commands(t, script.Text) {
				all = append(all, strings.Join(command, " "))
			}
			switch {
			case slices.ContainsFunc(all, begins(elsewhere)) && !slices.ContainsFunc(all, func(c string) bool { return strings.HasSuffix(c, "--dry-run") }):
			case !slices.ContainsFunc(all, not(begins(reads))), script.Inline && !slices.ContainsFunc(all, not(begins(changes))):
				if slices.Contains(all, "nodetune explain") || slices.Contains(all, "nodetune disk") && script.Inline {
					continue // in a sentence, a word of which may be missing
				}
				// Some things show in a second pass only.
				eventually(t, name+": "+strings.TrimSpace(script.Text), func(context.Context) error {
					out, err := run(t.Context(), name, script.Text)
					if err != nil || script.Inline || name == tooYoung || slices.ContainsFunc(all, begins(notHere)) {
						return err
					}
					n, err := compareSample(text, script.Text, out)
					samples += n
					return err
				})
				ran[script.Text] = true
			default:
				t.Errorf("%s: no test knows what %q changes: add it to reads, changes or elsewhere", name, all)
			}
		}
	}
	t.Run("commands ask the agent", func(t *testing.T) { commandsAskTheAgent(t, s) })
	headers := compareHeaders(t, func(script string) (string, error) { return run(t.Context(), "", script) })
	t.Logf("%d scripts ran, %d lines of their samples were compared, and %d headers of tables in other documents", len(ran), samples, headers)
	if len(ran) < 25 || samples < 25 || headers < 6 {
		t.Errorf("only %d scripts ran, and %d lines were compared", len(ran), samples)
	}
}

func begins(prefixes []string) func(string) bool {
	return func(command string) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool {
			return command == p || strings.HasPrefix(command, strings.TrimSuffix(p, " ")+" ") || strings.HasSuffix(p, "=") && strings.HasPrefix(command, p)
		})
	}
}

func not(f func(string) bool) func(string) bool { return func(s string) bool { return !f(s) } }

// standIns returns what takes the place of the words of a page, and a directory
// of programs: sudo, and a nodetune that reads the scene's configuration and root.
func standIns(t *testing.T, s scene) (*strings.Replacer, string) {
	t.Helper()
	bin, dir := filepath.Join(s.dir, "bin"), t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return name
	}
	write(filepath.Join(bin, "sudo"), "#!/bin/sh\nexec \"$@\"\n", 0o755)
	write(filepath.Join(bin, "nodetune"), "#!/bin/sh\nnodetune="+s.dir+`/nodetune
case $1 in config) exec $nodetune "$@";; esac
exec $nodetune "$@" --config "$CONFIG" --path.rootfs "$ROOT"
`, 0o755)
	for _, d := range []string{"root/etc", "paused/etc"} {
		if err := os.MkdirAll(filepath.Join(s.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(s.dir, "paused/run/nodetune/pause"), "", 0o600)
	// umount works in a namespace of its own, where a filesystem is mounted.
	mount := filepath.Join(dir, "mount")
	if err := os.Mkdir(mount, 0o755); err != nil {
		t.Fatal(err)
	}
	write(filepath.Join(bin, "umount"), "#!/bin/sh\nexec unshare -m sh -c 'mount -t tmpfs none \"$0\" && /bin/umount \"$@\"' "+mount+" \"$@\"\n", 0o755)
	pause := write(filepath.Join(dir, "pause"), "", 0o600)
	broken := write(filepath.Join(s.dir, "root/var/log/app.log.1.gz"), "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", 0o600)
	write(filepath.Join(bin, "nodetune.yaml"), "apiVersion: nodetune.io/v1alpha1\nkind: Configuration\ninotify:\n  presurePercent: 90\n", 0o600)
	valid := write(filepath.Join(dir, "valid.yaml"), "apiVersion: nodetune.io/v1alpha1\nkind: Configuration\n", 0o600)
	return strings.NewReplacer(
		"127.0.0.1:9409", s.agent, "/run/nodetune/pause", pause, "/var/log/app.log.1.gz", broken, "nodetune.yaml", filepath.Join(bin, "nodetune.yaml"), "validate FILE", "validate "+valid,
		"FILE.part", filepath.Join(dir, "part"), "FILE", broken, "PID", strconv.Itoa(bystander(t, dir)), "PROGRAM", "fluent-bit", "PATH", mount,
	), bin
}

// bystander is a process that a command may end: it has every file open that it may.
func bystander(t *testing.T, dir string) int {
	t.Helper()
	name := filepath.Join(dir, "fluentd") // its comm
	if err := os.Symlink("/bin/bash", name); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(name, "-c", "ulimit -Sn 1024; exec 3<&0 4<&0 5<&0 6<&0 7<&0 8<&0 9<&0; while exec {fd}<&0; do :; done 2>/dev/null; while :; do read -r -t 600 <&0; done")
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd.Process.Pid
}

var (
	sampleNumber = regexp.MustCompile(`[->]?\d[\d.,:TZ-]*( ?[KMGT]?i?B\b)?[a-zµ%]*|(^| )-( |$)`)
	sampleType   = regexp.MustCompile(`\b(ext4|overlay|xfs|btrfs|tmpfs)\b`)
	sampleSpaces = regexp.MustCompile(` +`)
)

// shape is a line without its numbers, so that two nodes in the same trouble have the same.
func shape(line string) string {
	line = sampleType.ReplaceAllString(strings.TrimRight(line, " "), "ext4")
	for range 2 { // two dashes side by side share a space
		line = sampleNumber.ReplaceAllString(line, " # ")
	}
	return strings.TrimSpace(sampleSpaces.ReplaceAllString(line, " "))
}

// header matches the first line of a table.
var header = regexp.MustCompile(`^[A-Z]{3,}[A-Z%/ ]*  [A-Z%/ ]*$`)

// compareHeaders compares the samples of the other documents, which show nodes of their
// own, with live output: each table has the columns that the command prints.
func compareHeaders(t *testing.T, run func(script string) (string, error)) (n int) {
	t.Helper()
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(files) < 10 {
		t.Fatalf("found %q (%v)", files, err)
	}
	for _, file := range files {
		text := read(t, file)
		for _, script := range shelltest.Scripts(text, "nodetune") {
			_, sample, ok := strings.Cut(text, "$ "+script.Text)
			if script.Inline || !ok || !slices.ContainsFunc([]string{"check", "disk", "why", "top"}, func(c string) bool {
				return regexp.MustCompile(`^(sudo )?nodetune ` + c + `( fluent-bit --errno 24)?\n?$`).MatchString(script.Text)
			}) {
				continue
			}
			sample, _, _ = strings.Cut(sample, "```")
			var want []string
			for line := range strings.Lines(sample) {
				if line = strings.TrimSpace(line); header.MatchString(line) {
					want = append(want, shape(line))
				}
			}
			if n += len(want); len(want) == 0 {
				continue
			}
			eventually(t, filepath.Base(file)+": "+strings.TrimSpace(script.Text), func(context.Context) error {
				out, err := run(script.Text)
				if err != nil {
					return err
				}
				live := map[string]bool{}
				for line := range strings.Lines(out) {
					live[shape(strings.TrimSuffix(line, "\n"))] = true
				}
				for _, line := range want {
					if !live[line] && !strings.HasPrefix(line, "LOG WITHOUT READER") { // each log here has one
						return fmt.Errorf("no table has the columns %q in:\n%s", line, out)
					}
				}
				return nil
			})
		}
	}
	return n
}

// compareSample compares what the page shows below a command with what the command prints.
// "..." stands for any lines. It returns how many lines are there.
func compareSample(page, script, out string) (n int, err error) {
	_, after, ok := strings.Cut(page, "$ "+script)
	if !ok {
		return 0, fmt.Errorf("the page has no %q", script)
	}
	live := map[string]bool{}
	for line := range strings.Lines(out) {
		live[shape(strings.TrimSuffix(line, "\n"))] = true
	}
	for line := range strings.Lines(after) {
		if strings.HasPrefix(line, "$ ") || strings.HasPrefix(line, "```") {
			return n, nil
		}
		if line = strings.TrimSpace(line); line == "" || line == "..." {
			continue
		}
		n++
		if !live[shape(line)] {
			return 0, fmt.Errorf("no line has the shape of\n%s\nin:\n%s", line, out)
		}
	}
	return n, nil
}

// eventually is [cluster.Eventually] that goes on with the next command.
func eventually(t *testing.T, what string, check func(context.Context) error) {
	t.Helper()
	t.Run(what, func(t *testing.T) { cluster.Eventually(t, what, check) })
}
