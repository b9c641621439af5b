package cli

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// logFlags are named as in every Prometheus exporter.
type logFlags struct {
	format string
	level  string
}

func (f *logFlags) register(cmd *cobra.Command, flags *pflag.FlagSet) {
	flags.StringVar(&f.format, "log.format", "text", "format of the log on stderr: text or json")
	flags.StringVar(&f.level, "log.level", "info", "least `level` to log: debug, info, warn or error")
	for flag, words := range map[string][]cobra.Completion{
		"log.format": {"text", "json"},
		"log.level":  {"debug", "info", "warn", "error"},
	} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	}
}

func (f *logFlags) logger(w io.Writer) (*slog.Logger, error) {
	o := &slog.HandlerOptions{}
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.level)); err != nil {
		return nil, fmt.Errorf("--log.level %q: want debug, info, warn or error", f.level)
	}
	o.Level = level
	var handler func(io.Writer) slog.Handler
	switch f.format {
	case "text":
		handler = func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, o) }
	case "json":
		handler = func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, o) }
	default:
		return nil, fmt.Errorf("--log.format %q: want text or json", f.format)
	}
	if toJournal(w) {
		return slog.New(newJournalHandler(w, handler)), nil
	}
	return slog.New(handler(w)), nil
}
