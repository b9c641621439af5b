package agent

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

func TestAFailureIsLoggedOnce(t *testing.T) {
	var out bytes.Buffer
	var err error
	ctx, cancel := context.WithCancel(t.Context())
	pass := logErrors(slog.New(slog.NewTextHandler(&out, nil)), "cannot", func(context.Context) error { return err })
	denied, full := errors.New("denied"), errors.New("full")
	for _, err = range []error{nil, denied, denied, full, full, nil, full} {
		if got := pass(ctx); !errors.Is(got, err) {
			t.Errorf("the error is %v, want %v", got, err)
		}
	}
	cancel()
	err = context.Canceled
	_ = pass(ctx)
	var messages []string
	for line := range strings.Lines(out.String()) {
		messages = append(messages, line[strings.Index(line, "msg="):len(line)-1])
	}
	if got := strings.Join(messages, "\n"); got != "msg=cannot err=denied\nmsg=cannot err=full\nmsg=cannot err=full" {
		t.Errorf("logged:\n%s", got)
	}
}
