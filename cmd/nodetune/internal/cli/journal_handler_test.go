package cli

import (
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/coreos/go-systemd/v22/journal"
)

func TestJournalLines(t *testing.T) {
	var b strings.Builder
	log := slog.New(newJournalHandler(&b, func(w io.Writer) slog.Handler {
		return slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}})
	}))
	log.Debug("a")
	log.With("task", "disk").Info("b\nc")
	log.WithGroup("g").Warn("d", "k", 1)
	log.Error("e", "err", errors.New("<7>f"))
	const want = `<7>level=DEBUG msg=a
<6>level=INFO msg="b\nc" task=disk
<4>level=WARN msg=d g.k=1
<3>level=ERROR msg=e err=<7>f
`
	if b.String() != want {
		t.Errorf("wrote\n%swant\n%s", b.String(), want)
	}
	if got, want := prioritized(journal.PriErr, "a\nb"), "<3>a\n<3>b"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
