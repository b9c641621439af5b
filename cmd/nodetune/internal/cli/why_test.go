package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/inotify/procscan"
	"github.com/nodetune/nodetune/reporter/diagnosis"
)

// nodetune runs a command line as main does.
func nodetune(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

func TestWhyArguments(t *testing.T) {
	for _, c := range []struct {
		args   []string
		code   int
		stderr string
	}{
		{[]string{"why"}, 2, "which process? Give a pid"},
		{[]string{"why", "1", "2"}, 2, "1 at a time, got 2"},
		{[]string{"why", " "}, 2, "want a pid, or the name"},
		{[]string{"why", "no-such-program-anywhere"}, 2, `matches "no-such-program-anywhere"`},
		{[]string{"why", "\x1b[2J"}, 2, `matches "\x1b[2J"`},
		{[]string{"why", "2147483647"}, 2, "there is no process 2147483647"},
		{[]string{"why", "1", "--errno", "5"}, 2, "want 24 (EMFILE), 23 (ENFILE) or 28 (ENOSPC)"},
		{[]string{"why", "1", "--path.procfs", t.TempDir()}, 3, "no such file"},
		{[]string{"top", "--interval", "1ms"}, 2, "--interval 1ms: want 500ms to 1m0s"},
		{[]string{"top", "--rows", "-1"}, 2, "--rows -1"},
		{[]string{"top", "--once", "--path.procfs", t.TempDir()}, 3, "no such file"},
	} {
		code, stdout, stderr := nodetune(c.args...)
		if code != c.code || !strings.Contains(stderr, c.stderr) || stdout != "" {
			t.Errorf("%q: exit %d, want %d\nstdout %s\nstderr %s", c.args, code, c.code, stdout, stderr)
		}
	}
}

// A process may always look at itself.
func TestWhyOfItself(t *testing.T) {
	code, stdout, stderr := nodetune("why", strconv.Itoa(os.Getpid()), "--errno", "EMFILE", "-o", "json")
	if code != 0 && code != 1 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	var d diagnosis.Diagnosis
	if err := json.Unmarshal([]byte(stdout), &d); err != nil {
		t.Fatal(err)
	}
	if d.Kind != "Diagnosis" || d.Process.PID != os.Getpid() || d.Process.FDs < 3 || d.Process.NOFILESoft < 3 {
		t.Errorf("of %d: %s", os.Getpid(), stdout)
	}
	for _, l := range d.Limits {
		if l.Errno != 24 || l.Limit < 1 || l.Resource == inotify.Watches {
			t.Errorf("limit %+v for errno 24", l)
		}
	}
	if len(d.Limits) != 2 {
		t.Errorf("%d limits for errno 24, want the instances and NOFILE", len(d.Limits))
	}
}

// Names that several processes have are listed, in a form fit to print.
func TestAmbiguous(t *testing.T) {
	var found []procscan.ProcessName
	for i := range 30 {
		found = append(found, procscan.ProcessName{PID: i, Comm: "a\nb"})
	}
	got := ambiguous("a", found).Error()
	if !strings.Contains(got, `a\nb`) || !strings.HasSuffix(got, "... and 10 more") || strings.Count(got, "\n") != 21 {
		t.Errorf("got\n%s", got)
	}
}

// Where the output is no terminal, top prints once, and says the same as
// check.
func TestTopWithoutTerminal(t *testing.T) {
	code, stdout, stderr := nodetune("top")
	if code != 0 || !strings.Contains(stdout, "FDS/NOFILE") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	code, stdout, _ = nodetune("top", "-o", "json")
	var d map[string]json.RawMessage
	if err := json.Unmarshal([]byte(stdout), &d); err != nil || code != 0 {
		t.Fatalf("exit %d: %v", code, err)
	}
	if string(d["kind"]) != `"Report"` || d["inotify"] == nil || d["sysctl"] != nil {
		t.Errorf("got %s", stdout)
	}
}
