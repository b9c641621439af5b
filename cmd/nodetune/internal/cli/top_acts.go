package cli

import (
	"context"

	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/top"
)

// readActs reads the acts of an agent from its /status.json.
func readActs(agent string) (top.ReadActs, error) {
	c, err := newAgentClient(agent)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) ([]reporter.Act, error) {
		s, err := c.read(ctx)
		return s.Acts.Rows, err
	}, nil
}
