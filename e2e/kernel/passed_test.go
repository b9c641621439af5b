package kernel

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// requirePassed fails t unless each test of names has passed in output, which a test
// binary printed with -test.v. The message begins with the tests that failed and with
// what they printed. Only the output of a binary that did not end is printed, too.
func requirePassed(t *testing.T, output string, names []string) {
	t.Helper()
	missing := slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return strings.Contains(output, "--- PASS: "+name+" ")
	})
	if len(missing) == 0 {
		return
	}
	t.Errorf("%s did not pass", strings.Join(missing, ", "))
	if failed := failedLines(output); failed != "" {
		t.Error(failed)
		return
	}
	t.Errorf("no test reports a failure; the output ends with:\n%s", lastBytes(output, 4000))
}

var (
	testBegins = regexp.MustCompile(`^=== (?:RUN|NAME|CONT|PAUSE) +(\S+)`)
	testFailed = regexp.MustCompile(`^ *--- FAIL: (\S+)`)
)

// failedLines returns what the tests that failed have printed. A panic and what is
// behind it is part of the test that it ended.
func failedLines(output string) string {
	printed := map[string][]string{}
	var order, failed []string
	name := ""
	for line := range strings.Lines(output) {
		if m := testBegins.FindStringSubmatch(line); m != nil {
			name = m[1]
			if !slices.Contains(order, name) {
				order = append(order, name)
			}
			continue
		}
		if m := testFailed.FindStringSubmatch(line); m != nil {
			failed = append(failed, m[1])
		}
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			failed = append(failed, name)
		}
		printed[name] = append(printed[name], line)
	}
	var text strings.Builder
	for _, name := range order {
		if !slices.Contains(failed, name) {
			continue
		}
		text.WriteString(name + ":\n")
		for _, line := range printed[name][:min(60, len(printed[name]))] {
			if !strings.Contains(line, "--- PASS: ") {
				text.WriteString(line)
			}
		}
	}
	return text.String()
}

func TestFailedLines(t *testing.T) {
	for _, c := range []struct{ name, output, want string }{
		{"all pass", "=== RUN   TestA\n    a_test.go:1: fine\n--- PASS: TestA (0.1s)\nPASS\n", ""},
		{
			"one of two", "=== RUN   TestA\n    a_test.go:1: fine\n--- PASS: TestA (0.1s)\n=== RUN   TestB\n    b_test.go:2: bad\n--- FAIL: TestB (0.1s)\n",
			"TestB:\n    b_test.go:2: bad\n--- FAIL: TestB (0.1s)\n",
		},
		{
			"a subtest", "=== RUN   TestA\n=== RUN   TestA/x\n    a_test.go:1: bad\n=== NAME  TestA\n    a_test.go:2: more\n--- FAIL: TestA (1s)\n    --- FAIL: TestA/x (1s)\n    --- PASS: TestA/y (1s)\n",
			"TestA:\n    a_test.go:2: more\n--- FAIL: TestA (1s)\n    --- FAIL: TestA/x (1s)\nTestA/x:\n    a_test.go:1: bad\n",
		},
		{"a panic", "=== RUN   TestA\n--- PASS: TestA (1s)\n=== RUN   TestB\npanic: out of range\n\ngoroutine 1\n", "TestB:\npanic: out of range\n\ngoroutine 1\n"},
		{"no end", "=== RUN   TestA\n", ""},
		{"nothing", "", ""},
	} {
		if got := failedLines(c.output); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
