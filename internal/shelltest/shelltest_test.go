package shelltest

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func TestScripts(t *testing.T) {
	const text = "Run `sudo nodetune apply`, see `nodetune`, `disk.mode: assist`, `df` or `sudo touch /x`.\n" +
		"```console\n$ kubectl get pods \\\n    -o wide\nNAME\n$ nodetune check\n$5\n```\n" +
		"- a list\n  ```sh\n  A=1\n  nodetune disk\n  ```\n```yaml\n$ no: command\n```\nand `nodetune why 5`\n"
	want := []Script{
		{Text: "kubectl get pods \\\n    -o wide\n"},
		{Text: "nodetune check\n"},
		{Text: "  A=1\n  nodetune disk\n"},
		{Text: "sudo nodetune apply", Inline: true},
		{Text: "sudo touch /x", Inline: true},
		{Text: "nodetune why 5", Inline: true},
	}
	if got := Scripts(text, "nodetune", "df"); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestCommands(t *testing.T) {
	for _, tt := range []struct {
		text string
		want [][]string
	}{
		{"sudo nodetune check", [][]string{{"nodetune", "check"}}},
		{"nodetune a | grep -E 'x|y z' | tail -3", [][]string{{"grep", "-E", "x|y z"}, {"nodetune", "a"}, {"tail", "-3"}}},
		{"ps -eo pid | awk '$2 ~ /^D/'", [][]string{{"awk", "$2 ~ /^D/"}, {"ps", "-eo", "pid"}}},
		{"N=w3\nP=$(kubectl get --n=$N)\nkubectl logs \"$P\" \"\"", [][]string{{"kubectl", "get", "--n=w3"}, {"kubectl", "logs", "", ""}}},
		{"gzip -dc F 2>/dev/null > F.part", [][]string{{"gzip", "-dc", "F"}}},
		{"kill -QUIT 1", [][]string{{"kill", "-QUIT", "1"}}},
		{"rm -rf one && touch two", [][]string{{"rm", "-rf", "one"}, {"touch", "two"}}},
		{"kubectl a \\\n  b # why\n", [][]string{{"kubectl", "a", "b"}}},
	} {
		if got := Commands(t, tt.text); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s\ngot  %q\nwant %q", tt.text, got, tt.want)
		}
	}
}

// Nothing of a document runs: neither a program, nor a built-in that acts on a process.
func TestCommandsRunNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "made")
	got := Commands(t, "touch "+file+"; env touch "+file+"; kill -9 $$\n/usr/bin/touch "+file+"\necho $(/usr/bin/touch "+file+" | /usr/bin/touch "+file+")")
	if len(got) != 6 {
		t.Errorf("recorded %q", got)
	}
	if _, err := os.Stat(file); err == nil {
		t.Errorf("it ran touch")
	}
}

func TestNodetune(t *testing.T) {
	for _, tt := range []struct {
		command []string
		want    []string
		ok      bool
	}{
		{[]string{"nodetune", "check", "-o", "json"}, []string{"check", "-o", "json"}, true},
		{[]string{"bin/nodetune", "top"}, []string{"top"}, true},
		{[]string{"kubectl", "exec", "P", "--", "/nodetune", "check"}, []string{"check"}, true},
		{[]string{"kubectl", "exec", "P", "--", "sh"}, nil, false},
		{[]string{"kubectl", "nodetune", "status"}, nil, false},
		{[]string{"kubectl", "exec", "P", "--"}, nil, false},
	} {
		if got, ok := Nodetune(tt.command); ok != tt.ok || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q: %q %t", tt.command, got, ok)
		}
	}
}
