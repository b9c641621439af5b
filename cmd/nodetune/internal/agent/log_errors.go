package agent

import (
	"context"
	"errors"
	"log/slog"

	"github.com/nodetune/nodetune/reporter/health"
)

// logErrors returns pass with its error logged when it differs from that of the
// pass before: what fails every 250 ms is one line.
func logErrors(log *slog.Logger, what string, pass func(context.Context) error) func(context.Context) error {
	logged := ""
	return func(ctx context.Context) error {
		err := pass(ctx)
		if ctx.Err() != nil || errors.Is(err, health.ErrIdle) {
			return err // the agent stops or the task has nothing to do: no failure
		}
		text := ""
		if err != nil {
			text = err.Error()
		}
		if text != logged && err != nil {
			log.Error(what, "err", err)
		}
		logged = text
		return err
	}
}
