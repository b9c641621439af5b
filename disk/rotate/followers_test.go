package rotate

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/privtest"
)

// follower starts a program that follows file. It keeps its state in the directory
// out, and appends what it reads to got, each line in a line.
type follower func(t *testing.T, file, out, got string) *exec.Cmd

func followers() map[string]follower {
	all := map[string]follower{"tail": startTail, "rsyslog": startRsyslog}
	if dir := collectorsDir(); dir != "" {
		all["Fluent Bit"], all["OpenTelemetry Collector"] = startFluentBit(dir), startOtelcol(dir)
	}
	return all
}

// collectorsDir has the collectors that no package of Debian has.
func collectorsDir() string { return os.Getenv("NODETUNE_TEST_COLLECTORS") }

func startTail(t *testing.T, file, _, got string) *exec.Cmd {
	return appending(t, got, exec.Command("tail", "-n", "+1", "-F", file))
}

func startRsyslog(t *testing.T, file, out, got string) *exec.Cmd {
	conf := filepath.Join(out, "conf")
	disktest.WriteFile(t, conf, fmt.Sprintf(`global(workDirectory=%q)
module(load="imfile" mode="inotify")
template(name="raw" type="string" string="%%msg%%\n")
input(type="imfile" File=%q Tag="x" ruleset="r" reopenOnTruncate="on")
ruleset(name="r") { action(type="omfile" file=%q template="raw") }
`, out, file, got))
	return disktest.Start(t, "rsyslogd", "-n", "-i", filepath.Join(out, "pid"), "-f", conf)
}

func startFluentBit(dir string) follower {
	return func(t *testing.T, file, out, got string) *exec.Cmd {
		conf := filepath.Join(out, "conf")
		disktest.WriteFile(t, conf, fmt.Sprintf(`[SERVICE]
    Flush 1
    Log_Level warn
[INPUT]
    Name tail
    Path %s
    DB %s/tail.db
    Read_from_Head On
    Refresh_Interval 10
[OUTPUT]
    Name file
    Match *
    Path %s
    File %s
    Format plain
`, file, out, filepath.Dir(got), filepath.Base(got)))
		return disktest.Start(t, filepath.Join(dir, "fluent-bit"), "-c", conf)
	}
}

func startOtelcol(dir string) follower {
	return func(t *testing.T, file, out, got string) *exec.Cmd {
		conf := filepath.Join(out, "conf")
		disktest.WriteFile(t, conf, fmt.Sprintf(`receivers:
  filelog: {include: [%q], start_at: beginning, storage: file_storage}
extensions:
  file_storage: {directory: %q}
exporters:
  debug: {verbosity: detailed, use_internal_logger: false, output_paths: [%q]}
service:
  extensions: [file_storage]
  telemetry: {metrics: {level: none}, logs: {level: warn}}
  pipelines:
    logs: {receivers: [filelog], exporters: [debug]}
`, file, out, got))
		return disktest.Start(t, filepath.Join(dir, "otelcol"), "--config", conf)
	}
}

// appending starts cmd, whose output is appended to got.
func appending(t *testing.T, got string, cmd *exec.Cmd) *exec.Cmd {
	f, err := os.OpenFile(got, os.O_WRONLY|os.O_APPEND, 0)
	disktest.Must(t, err)
	cmd.Stdout = f
	disktest.Must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait(); f.Close() })
	return cmd
}

// received counts the lines of a writer in what a follower appended to got, each in
// the form of that follower.
func received(t *testing.T, got string, lines int) (distinct, repeated int) {
	t.Helper()
	f, err := os.Open(got)
	disktest.Must(t, err)
	defer f.Close()
	seen := make([]bool, lines)
	for in := bufio.NewScanner(f); in.Scan(); {
		m := numbered.FindSubmatch(in.Bytes())
		if m == nil {
			continue
		}
		switch n, err := strconv.Atoi(string(m[1])); {
		case err != nil || n >= lines:
			t.Fatalf("%q was not written", in.Bytes())
		case seen[n]:
			repeated++
		default:
			seen[n] = true
			distinct++
		}
	}
	return distinct, repeated
}

var numbered = regexp.MustCompile(`(?m:^|["(])(\d{10}) the quick brown fox jumps over the lazy dog, again!(?m:$|[")])`)

// A real tail -F, rsyslog imfile, Fluent Bit and OpenTelemetry Collector receive
// every line of a writer of bursts, through rotations that wait for them. Each is
// between two bursts: tail leaves a file at once, and in a burst that the scheduler
// interrupts it would miss the rest.
func TestFollowersForReal(t *testing.T) {
	privtest.Root(t)
	const burst = 30_000 // lines, more than logdir.ReadMargin, in some 120 ms of each second
	for name, start := range followers() {
		t.Run(name, func(t *testing.T) {
			dir, out := t.TempDir(), t.TempDir()
			file, got := filepath.Join(dir, "app.log"), filepath.Join(out, "got")
			disktest.WriteFile(t, file, "")
			disktest.WriteFile(t, got, "")
			follower := start(t, file, out, got)
			// The first line is there before anything is rotated.
			w := disktest.StartWriter(t, file, "REOPEN=1", fmt.Sprint("BURST=", burst), "PAUSE=1000")
			disktest.WaitUntil(t, "the first line", func() bool { return numbered.MatchString(disktest.ReadFile(t, got)) })
			r := newRotator(t, dir)
			how := Options{Reopen: Reopen{PID: w.Cmd.Process.Pid}, Compress: archive.Gzip, Grace: time.Second}
			// Where a burst took the follower longer than the writer, a rotation waits for it.
			rotations := 0
			for deadline := time.Now().Add(time.Minute); rotations < 6 && time.Now().Before(deadline); {
				// The test rotates only after the followers have opened the last new file.
				disktest.WaitUntil(t, "a burst in the new file and its follower", func() bool {
					st, err := os.Stat(file)
					return err == nil && st.Size() > 0 && disktest.HasOpen(follower.Process.Pid, st) &&
						bytes.Count([]byte(disktest.ReadFile(t, file)), []byte("\n"))%burst == 0
				})
				archiveName, err := r.Rotate(t.Context(), file, how, time.Now())
				_, behind := errors.AsType[*ReaderLagError](err)
				if err != nil && !behind {
					t.Error(err)
				}
				if archiveName != "" {
					rotations++
				}
				if _, err := r.FinishRotation(t.Context(), file, how, time.Now()); err != nil {
					t.Error(err)
				}
			}
			_ = w.Cmd.Process.Signal(unix.SIGTERM)
			lines := <-w.Done
			var distinct, repeated int
			disktest.WaitUntil(t, "every line", func() bool {
				distinct, repeated = received(t, got, lines)
				return distinct == lines
			})
			t.Logf("%d of %d lines, %d repeated, %d rotations", distinct, lines, repeated, rotations)
			if distinct != lines || repeated != 0 || rotations < 6 {
				t.Error("lost, repeated, or not rotated")
			}
		})
	}
}

// Under each collector a log is rotated every second while 20,000 lines a second are
// written: by nodetune, and by logrotate with its own means. Collectors that follow a
// rotated file to its end receive every line. The others, tail and rsyslog, leave it
// while its writer still writes to it, and miss fewer lines than with logrotate. Where
// the writer never reopens no line is missing, and those are repeated that were read
// while the log was cut.
func TestCollectorsUnderLoad(t *testing.T) {
	privtest.Root(t)
	if collectorsDir() == "" {
		t.Skip("takes minutes and other collectors: make collectors")
	}
	const lines, every = 600_000, time.Second
	for name, start := range followers() {
		for _, w := range []struct {
			name string
			env  []string
		}{
			{"reopens", []string{"REOPEN=1"}},
			{"never reopens", nil},
		} {
			t.Run(name+" "+w.name, func(t *testing.T) {
				env := append(w.env, fmt.Sprint("LINES=", lines), "RATE=20000")
				inPlace := w.env == nil
				ours := follow(t, start, lines, env, nodetuneUnder(every, inPlace))
				theirs := follow(t, start, lines, env, logrotateUnder(every, inPlace))
				t.Logf("nodetune:  %v", ours)
				t.Logf("logrotate: %v", theirs)
				leaves := name == "tail" || name == "rsyslog"
				switch {
				case ours.rotations < 3:
					t.Error("hardly rotated")
				case !inPlace && leaves:
					if ours.missing > theirs.missing {
						t.Error("more is missing than with logrotate")
					}
				case ours.missing > 0 || !inPlace && ours.repeated > 0:
					t.Error("lines are missing or repeated")
				}
			})
		}
	}
}

// outcome is what a collector received of a writer's lines.
type outcome struct{ missing, repeated, rotations int }

func (o outcome) String() string {
	return fmt.Sprintf("%d lines missing, %d repeated, %d rotations", o.missing, o.repeated, o.rotations)
}

// follow has a collector follow a log that rotate rotates until its writer ends.
func follow(t *testing.T, start follower, lines int, env []string, rotate func(t *testing.T, file string, w *disktest.Writer) int) outcome {
	dir, out := t.TempDir(), t.TempDir()
	file, got := filepath.Join(dir, "app.log"), filepath.Join(out, "got")
	disktest.WriteFile(t, file, "")
	disktest.WriteFile(t, got, "")
	collector := start(t, file, out, got)
	w := disktest.StartWriter(t, file, env...)
	disktest.WaitUntil(t, "the first line", func() bool {
		distinct, _ := received(t, got, lines)
		return distinct > 0
	})
	rotations := rotate(t, file, w)
	var distinct, repeated int
	for quiet := 0; distinct < lines && quiet < 15; quiet++ { // seconds
		time.Sleep(time.Second)
		now, again := received(t, got, lines)
		if now > distinct {
			quiet = 0
		}
		distinct, repeated = now, again
	}
	_ = collector.Process.Kill()
	return outcome{lines - distinct, repeated, rotations}
}

func nodetuneUnder(every time.Duration, inPlace bool) func(*testing.T, string, *disktest.Writer) int {
	return func(t *testing.T, file string, w *disktest.Writer) (rotations int) {
		r := newRotator(t, filepath.Dir(file))
		how := Options{Reopen: Reopen{PID: w.Cmd.Process.Pid}, Compress: archive.Gzip, Grace: every, InPlace: inPlace}
		for tick := time.NewTicker(every); ; {
			select {
			case <-w.Done:
				tick.Stop()
				return rotations
			case <-tick.C:
			}
			archiveName, err := r.Rotate(t.Context(), file, how, time.Now())
			var skipped *logdir.SkippedError
			var waits *ReaderLagError
			if err != nil && !errors.As(err, &skipped) && !errors.As(err, &waits) && w.Cmd.ProcessState == nil {
				t.Errorf("rotate: %v", err)
			}
			if archiveName != "" {
				rotations++
			}
			if _, err := r.FinishRotation(t.Context(), file, how, time.Now()); err != nil {
				t.Error(err)
			}
		}
	}
}

func logrotateUnder(every time.Duration, inPlace bool) func(*testing.T, string, *disktest.Writer) int {
	return func(t *testing.T, file string, w *disktest.Writer) (rotations int) {
		how := "copytruncate\n compress\n delaycompress"
		if !inPlace {
			how = fmt.Sprintf("create\n compress\n delaycompress\n postrotate\n kill -HUP %d 2>/dev/null || true\n endscript", w.Cmd.Process.Pid)
		}
		conf := filepath.Join(t.TempDir(), "conf")
		disktest.WriteFile(t, conf, fmt.Sprintf("%s {\n rotate 1000\n size 1\n %s\n}\n", file, how))
		for tick := time.NewTicker(every); ; {
			select {
			case <-w.Done:
				tick.Stop()
				return rotations
			case <-tick.C:
			}
			if out, err := exec.Command("logrotate", "-f", "-s", conf+".state", conf).CombinedOutput(); err != nil {
				t.Errorf("logrotate: %v: %s", err, out)
			}
			rotations++
		}
	}
}
