package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/nodetune/nodetune/reporter/view"
)

// Way is how a report was read.
type Way string

// The ways, in the order in which they are tried.
const (
	ByProxy Way = "proxy" // the API server's pod proxy, and /report
	ByExec  Way = "exec"  // nodetune check in the agent's container
)

// Answer is a report as the agent wrote it.
type Answer struct {
	Raw    []byte
	Report *view.Report
	Way    Way
	// Closed is why the proxy did not serve, where Way is another.
	Closed string
}

// checkCommand prints the same document as /report.
var checkCommand = []string{"/nodetune", "check", "-o", "json"}

// Report reads the report of an agent through the pod proxy, and by exec where the
// proxy is closed.
func (c *Client) Report(ctx context.Context, a Agent) (Answer, error) {
	raw, closed := c.byProxy(ctx, a, "report", func(raw []byte) error {
		_, err := view.Parse(raw)
		return err
	})
	answer := Answer{Raw: raw, Way: ByProxy}
	if closed != nil {
		if ctx.Err() != nil {
			return Answer{}, fmt.Errorf("pod %s did not answer in time: %w", a.Pod, closed)
		}
		var err error
		if raw, err = c.ByExec(ctx, a, checkCommand); err != nil {
			return Answer{}, fmt.Errorf("read the report of pod %s: through the pod proxy: %w; by exec: %w", a.Pod, closed, err)
		}
		answer = Answer{Raw: raw, Way: ByExec, Closed: closed.Error()}
	}
	var err error
	if answer.Report, err = view.Parse(answer.Raw); err != nil {
		return Answer{}, fmt.Errorf("read the report of pod %s: %w", a.Pod, err)
	}
	return answer, nil
}

// pageCommand prints the document of /status.json, without the agent's acts.
var pageCommand = []string{"/nodetune", "page", "-o", "json"}

// Page reads what the node's page of an agent shows, in the same ways. The
// document is for 'nodetune page --from', and is not read here.
func (c *Client) Page(ctx context.Context, a Agent) ([]byte, error) {
	isPage := func(raw []byte) error {
		var d struct{ Kind string }
		if err := json.Unmarshal(raw, &d); err != nil || d.Kind != "NodeStatus" {
			return errors.New("the answer is no NodeStatus")
		}
		return nil
	}
	raw, closed := c.byProxy(ctx, a, "status.json", isPage)
	if closed == nil || ctx.Err() != nil {
		return raw, closed
	}
	raw, err := c.ByExec(ctx, a, pageCommand)
	if err == nil {
		err = isPage(raw)
	}
	if err != nil {
		return nil, fmt.Errorf("through the pod proxy: %w; by exec: %w", closed, err)
	}
	return raw, nil
}

// byProxy reads a document of the agent that check accepts: a mesh or an old agent
// answers with something else.
func (c *Client) byProxy(ctx context.Context, a Agent, path string, check func([]byte) error) ([]byte, error) {
	stream, err := c.Proxy(ctx, a.Pod, a.Scheme, a.Port, path)
	if err != nil {
		return nil, proxyError(a, err)
	}
	defer func() { _ = stream.Close() }()
	raw, err := io.ReadAll(io.LimitReader(stream, view.MaxBytes+1))
	if err != nil {
		return nil, err
	}
	return raw, check(raw)
}

// proxyError names the right or the value that is missing.
func proxyError(a Agent, err error) error {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return err
	}
	switch status.Status().Code {
	case http.StatusForbidden:
		return fmt.Errorf("you have no right to get pods/proxy in namespace %s (%w)", a.Pod.Namespace, err)
	case http.StatusUnauthorized:
		return errors.New("the agent asks for a token or a password, and the API server passes none on: web.report is authorised, or --web.config.file has basic_auth_users; set web.report: open (chart: report=open)")
	case http.StatusNotFound:
		return errors.New("the agent's report is closed: set web.report: open (chart: report=open)")
	case http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout:
		return fmt.Errorf("the API server cannot reach port %s of the pod, for example because of a NetworkPolicy (%w)", a.Port, err)
	}
	return err
}

// ByExec runs a command of nodetune in the agent's container and returns what it
// printed. Its exit code 1 or 3 comes with a whole document.
func (c *Client) ByExec(ctx context.Context, a Agent, command []string) ([]byte, error) {
	out := &limited{limit: view.MaxBytes, full: fmt.Errorf("the output is larger than %d MiB", view.MaxBytes>>20)}
	err := c.exec(ctx, a.Pod, a.Container, command, out)
	switch {
	case err == nil:
	case exitedWith(err, 1, 3) && out.Len() > 0:
	default:
		if verbs := c.missingExec(ctx, a); verbs != "" {
			return nil, fmt.Errorf("you have no right to %s pods/exec in namespace %s (%w)", verbs, a.Pod.Namespace, err)
		}
		return nil, err
	}
	return out.Bytes(), nil
}
