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
	"github.com/nodetune/nodetune/sysctl"
)

// defaultAgent is where an agent with the default flags answers its own host.
const defaultAgent = "http://127.0.0.1:9409"

// agentTimeout is how long a command waits for an agent, which answers from memory.
const agentTimeout = 2 * time.Second

// agentClient reads /status.json of an agent.
type agentClient struct {
	agent, status string
	http          *http.Client
	// trusted: the user named it, or root's file does. Any process may listen on the
	// default port, and must not choose a line to paste.
	trusted bool
}

func newAgentClient(agent string) (*agentClient, error) {
	u, err := url.Parse(agent)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("--agent %q: want a URL such as %s", agent, defaultAgent)
	}
	return &agentClient{agent: agent, status: u.JoinPath("status.json").String(), http: &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true}, // and without the proxy of the environment
		Timeout:       agentTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func (c *agentClient) read(ctx context.Context) (nodepage.Status, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.status, nil)
	if err != nil {
		return nodepage.Status{}, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		return nodepage.Status{}, fmt.Errorf("no agent answers at %s (%w): acts are those of a running agent, see 'nodetune run' and --agent", c.agent, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nodepage.Status{}, fmt.Errorf("%s answers %s: the agent serves its acts to its own host, or as web.report of its configuration says", c.status, resp.Status)
	}
	s, err := nodepage.Read(resp.Body)
	if err != nil {
		return nodepage.Status{}, fmt.Errorf("what %s answers is not read: %w", c.status, err)
	}
	return s, nil
}

// runningAgent is the client of the agent that runs on the host below rootfs, or nil.
func runningAgent(rootfs string) *agentClient {
	at := sysctl.NewStore(rootfs).AgentURL()
	if at == "" {
		return nil
	}
	c, err := newAgentClient(at)
	if err != nil {
		return nil
	}
	return c
}

// acts are the last acts of the agent.
func (c *agentClient) acts(ctx context.Context) ([]reporter.Act, error) {
	s, err := c.read(ctx)
	return s.Acts.Rows, err
}

// addAgent adds to s what the agent of this host reports, if one answers: what is beyond one
// look, what it refused, and how it traces calls that fail.
func addAgent(ctx context.Context, s *reporter.Snapshot, rootfs string) {
	c := runningAgent(rootfs)
	if c == nil {
		return
	}
	status, err := c.read(ctx)
	if err != nil {
		return // it has ended, or serves its report to nobody
	}
	s.Agent = []reporter.AgentTrouble{}
	for _, t := range status.Troubles.Rows {
		s.Agent = append(s.Agent, reporter.AgentTrouble{Kind: t.Kind, Critical: t.State == nodepage.Critical, Summary: t.Summary, Cause: t.Cause})
	}
	s.RefusedClients = status.RefusedClients
	s.Inotify.Value.RefusalSource = status.Acting.Tracing
}
