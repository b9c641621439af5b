package cluster

import (
	"bufio"
	"context"
	"io"
	"regexp"
	"strings"
)

// Build is what an agent's metrics say about its program and its configuration.
type Build struct {
	Version  string `json:"version,omitempty"`
	Revision string `json:"revision,omitempty"`
	// ConfigRefused: the agent refused the configuration file and goes on with the
	// one before.
	ConfigRefused bool   `json:"configRefused,omitempty"`
	Error         string `json:"error,omitempty"`
}

const maxMetricsBytes = 8 << 20

// Build reads the metrics of an agent, which web.report does not close.
func (c *Client) Build(ctx context.Context, a Agent) Build {
	stream, err := c.Proxy(ctx, a.Pod, a.Scheme, a.Port, "metrics")
	if err != nil {
		return Build{Error: err.Error()}
	}
	defer func() { _ = stream.Close() }()
	return parseBuild(io.LimitReader(stream, maxMetricsBytes))
}

var label = regexp.MustCompile(`(\w+)="((?:[^"\\]|\\.)*)"`)

func parseBuild(r io.Reader) Build {
	b := Build{Error: "its metrics have no nodetune_build_info"}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "nodetune_build_info{"):
			b.Error = ""
			for _, m := range label.FindAllStringSubmatch(line, -1) {
				switch m[1] {
				case "version":
					b.Version = m[2]
				case "revision":
					b.Revision = m[2]
				}
			}
		case strings.HasPrefix(line, "nodetune_config_last_reload_successful 0"):
			b.ConfigRefused = true
		}
	}
	if err := lines.Err(); err != nil {
		b.Error = err.Error()
	}
	return b
}
