package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nodetune/nodetune/reporter/recommend"
)

// A report that check printed leads to a configuration that nodetune accepts, and to
// values with the same rules.
func TestRecommend(t *testing.T) {
	_, report, _ := nodetune("check", "-o", "json")
	file := filepath.Join(t.TempDir(), "node.json")
	if err := os.WriteFile(file, []byte(report+report), 0o600); err != nil {
		t.Fatal(err)
	}
	code, configuration, stderr := nodetune("recommend", "--from", file, "--configuration")
	if code != exitOK || !strings.Contains(configuration, "; reports: 2\n") {
		t.Fatalf("exit code %d\n%s%s", code, configuration, stderr)
	}
	written := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(written, []byte(configuration), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := nodetune("config", "validate", written); code != exitOK {
		t.Errorf("nodetune refuses it: %s%s\n%s", stdout, stderr, configuration)
	}
	_, values, _ := nodetune("recommend", "--from", file)
	var r recommend.Recommendation
	_, document, _ := nodetune("recommend", "--from", file, "-o", "json")
	if err := json.Unmarshal([]byte(document), &r); err != nil || r.Kind != "Recommendation" || r.Reports != 2 || len(r.Rules) == 0 {
		t.Fatalf("%v\n%s", err, document)
	}
	for _, rule := range r.Rules {
		for text, indent := range map[string]string{configuration: "    ", values: "      "} {
			want := "\n" + indent + "- key: " + rule.Key + "\n" + indent + "  atLeast: " + rule.AtLeast.String() + "\n" + indent + "  ceiling: " + rule.Ceiling.String() + "\n"
			if !strings.Contains(text, want) {
				t.Errorf("no %q in\n%s", want, text)
			}
		}
	}
	if code, stdout, stderr := nodetune("recommend"); code != exitOK || !strings.Contains(stdout, "this host") {
		t.Errorf("of this host: exit code %d\n%s%s", code, stdout, stderr)
	}
}

func TestRecommendArguments(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"empty":       "",
		"text":        "SYSCTL OUTCOME\n",
		"other":       `{"apiVersion":"nodetune.io/v1alpha1","kind":"Diagnosis"}`,
		"version":     `{"apiVersion":"nodetune.io/v9","kind":"Report","inotify":{}}`,
		"without":     `{"apiVersion":"nodetune.io/v1alpha1","kind":"Report"}`,
		"second":      `{"apiVersion":"nodetune.io/v1alpha1","kind":"Report","inotify":{}} {]`,
		"status":      `{"apiVersion":"nodetune.io/v1alpha1","kind":"NodeStatus","limits":7}`,
		"wrong types": `{"apiVersion":"nodetune.io/v1alpha1","kind":"Report","inotify":{"owners":7}}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		from string
		want string
	}{
		{"missing", "no such file"},
		{"empty", "is empty: want a report"},
		{"text", "report 1 is no JSON"},
		{"status", "no JSON of a status"},
		{"other", `document 1 has kind "Diagnosis"`},
		{"version", `"nodetune.io/v9"`},
		{"without", "has no section inotify"},
		{"second", "report 2 is no JSON"},
		{"wrong types", "document 1 is no JSON"},
	} {
		code, stdout, stderr := nodetune("recommend", "--from", filepath.Join(dir, c.from))
		if code != exitUnreadable || stdout != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit code %d\n%s%s, want %q", c.from, code, stdout, stderr, c.want)
		}
	}
	if code, _, stderr := nodetune("recommend", "x"); code != exitUsage || !strings.Contains(stderr, "takes no arguments") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}
