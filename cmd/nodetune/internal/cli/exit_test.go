package cli

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/config"
)

func TestExitCode(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		err    error
		code   int
		stderr string
	}{
		{nil, 0, ""},
		{errNotMet(nil), 1, ""},
		{errNotMet(broken), 1, "nodetune: broken\n"},
		{fmt.Errorf("check: %w", errNotMet(broken)), 1, "nodetune: check: broken\n"},
		{broken, 2, "nodetune: broken\n"},
		{errInput(broken), 3, "nodetune: broken\n"},
		{&config.ReadError{Err: broken}, 3, "nodetune: read the configuration: broken\n"},
		{fmt.Errorf("run: %w", &config.ReadError{Err: broken}), 3, "nodetune: run: read the configuration: broken\n"},
	} {
		var stderr bytes.Buffer
		if code := exitCode(c.err, &stderr); code != c.code || stderr.String() != c.stderr {
			t.Errorf("exitCode(%v) = %d and %q, want %d and %q", c.err, code, stderr.String(), c.code, c.stderr)
		}
	}
}
