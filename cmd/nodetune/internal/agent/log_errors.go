package agent

import (
	"context"
	"log/slog"
)

// logErrors is pass, with its error in the log when that is another one than that
// of the pass before: what fails every 250 ms is one line.
func logErrors(log *slog.Logger, what string, pass func(context.Context) error) func(context.Context) error {
	said := ""
	return func(ctx context.Context) error {
		err := pass(ctx)
		if ctx.Err() != nil {
			return err // told to stop, which is no failure
		}
		text := ""
		if err != nil {
			text = err.Error()
		}
		if text != said && err != nil {
			log.Error(what, "err", err)
		}
		said = text
		return err
	}
}
