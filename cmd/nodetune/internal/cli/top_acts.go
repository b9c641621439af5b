package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/nodetune/nodetune/reporter"
	nodepage "github.com/nodetune/nodetune/reporter/page"
	"github.com/nodetune/nodetune/reporter/top"
)

// defaultAgent is where an agent with the default flags answers its own host.
const defaultAgent = "http://127.0.0.1:9409"

// actsTimeout is how long the tab waits for an agent, which answers from memory.
const actsTimeout = 2 * time.Second

// readActs reads the acts of an agent from its /status.json.
func readActs(agent string) (top.ReadActs, error) {
	u, err := url.Parse(agent)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("--agent %q: want a URL such as %s", agent, defaultAgent)
	}
	status := u.JoinPath("status.json").String()
	client := &http.Client{
		Transport:     &http.Transport{}, // without the proxy of the environment
		Timeout:       actsTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context) ([]reporter.Act, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, status, nil)
		if err != nil {
			return nil, err
		}
		resp, err := client.Do(req)
		if err != nil {
			if e, ok := errors.AsType[*url.Error](err); ok {
				err = e.Err
			}
			return nil, fmt.Errorf("no agent answers at %s (%w): acts are those of a running agent, see 'nodetune run' and --agent", agent, err)
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("%s answers %s: the agent serves its acts to its own host, or as web.report of its configuration says", status, resp.Status)
		}
		s, err := nodepage.Read(resp.Body)
		if err != nil {
			return nil, fmt.Errorf("what %s answers is not read: %w", status, err)
		}
		return s.Acts.Rows, nil
	}, nil
}
