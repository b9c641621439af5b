package scenario

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nodetune/nodetune/e2e/cluster"
	"github.com/nodetune/nodetune/e2e/sandbox"
)

// A pod bursts through several times the kubelet's limit between two of its
// looks. With assist its log is rotated as it grows, no line is lost, kubectl
// logs works as ever, and the kubelet goes on rotating what it is left.
func TestBurst(t *testing.T) {
	holdKernel(t)
	// Under the profile of seccomp; TestOwn runs under RuntimeDefault.
	putProfiles(t)
	installText(t, node.MustKubectl(t, "", "kustomize", composed(t, "assist", "seccomp")))
	ns := node.Namespace(t, nil)
	// 40 MB, then 15 MB on a signal.
	const first, second = 800_000, 300_000
	node.Create(t, cluster.Shell(ns, "burst", fmt.Sprintf(
		`until [ -e /tmp/1 ]; do sleep 0.1; done; seq 1 %d; sleep 2; seq %d %d; touch /tmp/1.done
		until [ -e /tmp/2 ]; do sleep 0.1; done; seq %d %d
		exec sleep 1000`, first/2, first/2+1, first, first+1, first+second)))
	pod := node.WaitPod(t, ns, "burst", "Ready", cluster.PodReady)
	dir := fmt.Sprintf("/var/log/pods/%s_burst_%s/burst", ns, pod.UID)
	burst := func(n string) { node.MustKubectl(t, "", "-n", ns, "exec", "burst", "--", "touch", "/tmp/"+n) }
	waitLog(t, "rotating container logs")

	// The agent reads the kubelet's configuration as it was given to the kubelet.
	var report struct {
		Disk struct {
			Kubelet struct {
				Error        string
				EvictionHard map[string]string `json:"eviction_hard"`
			}
		}
	}
	agent := waitAgent(t)
	// Not 0 where a limit is short; the document is complete in any case.
	text, _ := node.Kubectl(t.Context(), "-n", namespace, "exec", agent.Name, "--", "/nodetune", "check", "-o", "json")
	if err := json.Unmarshal([]byte(text), &report); err != nil {
		t.Fatal(err)
	}
	if k := report.Disk.Kubelet; k.Error != "" || k.EvictionHard["nodefs.available"] != "0%" {
		t.Errorf("the agent takes the kubelet's configuration for %+v", k)
	}

	kubectlLogs := exec.Command("../bin/kubectl", "--kubeconfig="+node.Kubeconfig, "-n", ns, "logs", "-f", "burst")
	var followed bytes.Buffer
	kubectlLogs.Stdout = &followed
	if err := kubectlLogs.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kubectlLogs.Process.Kill() })
	// Without a reader that it can see, nodetune leaves a log to the kubelet for as
	// long as the disk has room: a collector may read by opening and closing it.
	collector := exec.Command("tail", "-F", "-n", "+1", filepath.Join(dir, "0.log"))
	if err := collector.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = collector.Process.Kill(); _ = collector.Wait() })
	burst("1")
	// A process that opens a log is a reader, and rotation waits for it.
	node.MustKubectl(t, "", "-n", ns, "exec", "burst", "--", "sh", "-c", "until [ -e /tmp/1.done ]; do sleep 0.1; done")
	waitLine(t, dir, first)
	byUs := 0
	cluster.Eventually(t, "the archives are compressed", func(context.Context) error {
		plain, packed := archives(t, dir)
		byUs = max(byUs, len(plain)+len(packed))
		if len(plain) > 0 {
			return fmt.Errorf("not yet: %q", plain)
		}
		return nil
	})
	if byUs < 2 {
		t.Errorf("%d archives: the kubelet alone would have made one", byUs)
	}
	// The kubelet's own look, every ten seconds, may come first.
	if n := acts(t, "rotate"); n < 1 {
		t.Errorf("nodetune has rotated %d times", n)
	}
	if split := complete(t, dir, first); split > 0 {
		t.Logf("%d lines lie in two archives", split)
	}

	live, err := os.ReadFile(filepath.Join(dir, "0.log"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := node.Logs(t, ns, "burst"), messages(t, live); got != want {
		t.Errorf("kubectl logs gives %d bytes, the log has %d", len(got), len(want))
	}
	_ = kubectlLogs.Process.Kill()
	_ = kubectlLogs.Wait()
	t.Logf("kubectl logs -f got %d of %d lines", bytes.Count(followed.Bytes(), []byte("\n")), first)

	// The kubelet alone.
	if err := os.WriteFile("/run/nodetune/pause", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.Remove("/run/nodetune/pause") }()
	ours := acts(t, "rotate")
	before := allArchives(t, dir)
	burst("2")
	waitLine(t, dir, first+second)
	cluster.Eventually(t, "the kubelet rotates", func(context.Context) error {
		now := allArchives(t, dir)
		for _, name := range now {
			if !slices.Contains(before, name) && kubelets.MatchString(name) {
				return nil
			}
		}
		return fmt.Errorf("before %q, now %q", before, now)
	})
	if n := acts(t, "rotate"); n != ours {
		t.Errorf("nodetune has rotated %d times while it was paused", n-ours)
	}
	if names := allArchives(t, dir); len(names) > 4 { // and the live one: containerLogMaxFiles
		t.Errorf("the kubelet keeps five files, and there are %q", names)
	}
	if got := node.Logs(t, ns, "burst"); got == "" {
		// It was rotated after its last line.
		t.Log("the live log is empty")
	}
}

// With the kubelet's rotation switched off assist leaves containers' logs alone,
// and own rotates them.
func TestOwn(t *testing.T) {
	holdKernel(t)
	config := filepath.Join(sandbox.Dir(), "cluster", "kubelet.yaml")
	was, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	configure := func(ctx context.Context, text []byte) error {
		if err := os.WriteFile(config, text, 0o600); err != nil {
			return err
		}
		return node.Kubelet.Restart(ctx)
	}
	t.Cleanup(func() {
		if err := configure(context.Background(), was); err != nil {
			t.Error(err)
		}
	})
	if err := configure(t.Context(), append(slices.Clone(was), "containerLogMaxSize: \"-1\"\n"...)); err != nil {
		t.Fatal(err)
	}
	if err := node.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	ns := node.Namespace(t, nil)
	const lines = 400_000 // 20 MB
	node.Create(t, cluster.Shell(ns, "own", fmt.Sprintf("seq 1 %d; exec sleep 1000", lines)))
	pod := node.WaitPod(t, ns, "own", "Ready", cluster.PodReady)
	dir := fmt.Sprintf("/var/log/pods/%s_own_%s/own", ns, pod.UID)
	waitLine(t, dir, lines)
	text := kustomize(t, "assist")
	t.Run("assist", func(t *testing.T) {
		installText(t, text)
		waitLog(t, "rotation of containers' logs is off")
		if names := allArchives(t, dir); len(names) > 0 {
			t.Errorf("assist has made %q", names)
		}
	})
	t.Run("own", func(t *testing.T) {
		own := strings.Replace(text, "mode: assist", "mode: exclusive", 1)
		if own == text {
			t.Fatal("assist does not say so")
		}
		installText(t, own)
		cluster.Eventually(t, "the log is rotated and its archive compressed", func(context.Context) error {
			// While it is compressed, two files have the same lines.
			if plain, packed := archives(t, dir); len(plain) > 0 || len(packed) == 0 {
				return fmt.Errorf("not yet: %q, %q", plain, packed)
			}
			return nil
		})
		complete(t, dir, lines)
	})
}

// kubelets is an archive as the kubelet names it.
var kubelets = regexp.MustCompile(`^0\.log\.\d{8}-\d{6}(\.gz)?$`)

// archives returns the names of the archives in dir, plain and compressed, the
// oldest first.
func archives(t *testing.T, dir string) (plain, packed []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		switch name := e.Name(); {
		case name == "0.log":
		case strings.HasSuffix(name, ".gz") && !strings.HasPrefix(name, "."):
			packed = append(packed, name)
		default:
			plain = append(plain, name)
		}
	}
	return plain, packed
}

func allArchives(t *testing.T, dir string) []string {
	t.Helper()
	plain, packed := archives(t, dir)
	all := append(plain, packed...)
	slices.Sort(all)
	return all
}

// waitLine waits until the line n is written, wherever it is by then.
func waitLine(t *testing.T, dir string, n int) {
	t.Helper()
	want := fmt.Appendf(nil, " %d\n", n)
	cluster.Eventually(t, fmt.Sprintf("line %d is logged", n), func(context.Context) error {
		names := allArchives(t, dir)
		for _, name := range append(names, "0.log") {
			if b, err := unpack(filepath.Join(dir, name)); err == nil && bytes.Contains(b, want) {
				return nil
			}
		}
		return errors.New("not yet")
	})
}

func unpack(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var r io.Reader = f
	if strings.HasSuffix(file, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			return nil, err
		}
	}
	return io.ReadAll(r)
}

// complete fails t unless the archives and the log of dir hold the lines 1 to n,
// each once and in order. It returns how many were cut in two by a rotation.
func complete(t *testing.T, dir string, n int) (split int) {
	t.Helper()
	names := allArchives(t, dir)
	var parts [][]byte
	for _, name := range append(names, "0.log") {
		b, err := unpack(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, b)
	}
	// The names have no order: those of the kubelet have full seconds only.
	slices.SortStableFunc(parts, func(a, b []byte) int { return began(a).Compare(began(b)) })
	all := bytes.Join(parts, nil)
	text := messages(t, all)
	split = bytes.Count(all, []byte(" stdout P "))
	k := 0
	for line := range strings.Lines(text) {
		if k++; line != strconv.Itoa(k)+"\n" {
			t.Fatalf("line %d of %d is %q; files: %q", k, n, line, names)
		}
	}
	if k != n {
		t.Errorf("%d of %d lines are there; files: %q", k, n, names)
	}
	return split
}

// began is the time of a file's first record.
func began(records []byte) time.Time {
	at, _, _ := bytes.Cut(records, []byte(" "))
	t, _ := time.Parse(time.RFC3339Nano, string(at))
	return t
}

// messages takes the lines out of the CRI's records, "TIME stdout P|F TEXT":
// what ends with P goes on in the next.
func messages(t *testing.T, records []byte) string {
	t.Helper()
	var text strings.Builder
	for line := range bytes.Lines(records) {
		f := bytes.SplitN(line, []byte(" "), 4)
		if len(f) != 4 || string(f[1]) != "stdout" {
			t.Fatalf("no record: %q", line)
		}
		if string(f[2]) == "P" {
			f[3] = bytes.TrimSuffix(f[3], []byte("\n"))
		}
		text.Write(f[3])
	}
	return text.String()
}

// acts is how often the agent did something to a file.
func acts(t *testing.T, verb string) int {
	t.Helper()
	for line := range strings.Lines(metrics(t)) {
		if strings.HasPrefix(line, "nodetune_disk_acts_total{") && strings.Contains(line, `"`+verb+`"`) && strings.Contains(line, `"done"`) {
			v, err := strconv.ParseFloat(strings.Fields(line)[1], 64)
			if err != nil {
				t.Fatal(err)
			}
			return int(v)
		}
	}
	return 0
}
