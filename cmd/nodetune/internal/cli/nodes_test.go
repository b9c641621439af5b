package cli

import (
	"strings"
	"testing"
)

func TestCommandLine(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"nodetune", ""},
		{"/usr/bin/nodetune check -o json", "check -o json"},
		{"/usr/bin/kubectl-nodetune", "nodes"},
		{"kubectl-nodetune --live", "nodes --live"},
		{"kubectl-nodetune worker-1", "nodes worker-1"},
		{"kubectl-nodetune cleanup --all", "cleanup --all"},
	} {
		got := strings.Join(commandLine(strings.Fields(tt.args)), " ")
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.args, got, tt.want)
		}
	}
	if got := commandLine(nil); len(got) != 0 {
		t.Errorf("no arguments at all: %q", got)
	}
}
