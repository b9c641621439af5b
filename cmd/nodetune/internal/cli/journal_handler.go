package cli

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/coreos/go-systemd/v22/journal"
)

// toJournal reports whether what is written to w goes to systemd's journal,
// which takes the priority of a line from its start, as in <4> (sd-daemon(3)).
func toJournal(w io.Writer) bool {
	if f, ok := w.(*os.File); !ok || f != os.Stderr {
		return false
	}
	yes, err := journal.StderrIsJournalStream()
	return yes && err == nil
}

// prioritized puts a priority before each line of text.
func prioritized(p journal.Priority, text string) string {
	prefix := "<" + strconv.Itoa(int(p)) + ">"
	return prefix + strings.ReplaceAll(text, "\n", "\n"+prefix)
}

// journalHandler writes each record with its priority.
type journalHandler struct {
	slog.Handler // writes into line
	out          *journalLine
}

// journalLine is one record at a time on its way to w.
type journalLine struct {
	mu   sync.Mutex
	line bytes.Buffer
	w    io.Writer
}

// newJournalHandler returns a handler that writes to w what the one made by
// inner writes.
func newJournalHandler(w io.Writer, inner func(io.Writer) slog.Handler) slog.Handler {
	out := &journalLine{w: w}
	return journalHandler{inner(&out.line), out}
}

func (h journalHandler) Handle(ctx context.Context, r slog.Record) error {
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	h.out.line.Reset()
	if err := h.Handler.Handle(ctx, r); err != nil {
		return err
	}
	_, err := io.WriteString(h.out.w, prioritized(priority(r.Level), strings.TrimSuffix(h.out.line.String(), "\n"))+"\n")
	return err
}

func (h journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return journalHandler{h.Handler.WithAttrs(attrs), h.out}
}

func (h journalHandler) WithGroup(name string) slog.Handler {
	return journalHandler{h.Handler.WithGroup(name), h.out}
}

func priority(l slog.Level) journal.Priority {
	switch {
	case l >= slog.LevelError:
		return journal.PriErr
	case l >= slog.LevelWarn:
		return journal.PriWarning
	case l >= slog.LevelInfo:
		return journal.PriInfo
	}
	return journal.PriDebug
}
