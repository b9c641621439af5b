package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"
	"k8s.io/streaming/pkg/httpstream"
)

// remoteCommand runs command in a container, as kubectl exec does: over WebSocket,
// and over SPDY where the API server or a proxy on the way does not upgrade.
func (c *Client) remoteCommand(ctx context.Context, pod types.NamespacedName, container string, command []string, out io.Writer) error {
	r := c.rest.Get().Namespace(pod.Namespace).Resource("pods").Name(pod.Name).SubResource("exec").
		Param("container", container).Param("stdout", "true").Param("stderr", "true")
	for _, word := range command {
		r = r.Param("command", word)
	}
	spdy, err := remotecommand.NewSPDYExecutor(c.config, "POST", r.URL())
	if err != nil {
		return err
	}
	websocket, err := remotecommand.NewWebSocketExecutor(c.config, "GET", r.URL().String())
	if err != nil {
		return err
	}
	e, err := remotecommand.NewFallbackExecutor(websocket, spdy, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
	if err != nil {
		return err
	}
	complaint := &limited{limit: maxComplaint}
	err = e.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: out, Stderr: complaint})
	if text := strings.TrimSpace(complaint.String()); err != nil && text != "" {
		return fmt.Errorf("%w: %s", err, text)
	}
	return err
}

// maxComplaint is how much of standard error an error message repeats.
const maxComplaint = 1 << 10

// limited keeps the first bytes, and fails where full is set.
type limited struct {
	bytes.Buffer
	limit int
	full  error
}

func (l *limited) Write(p []byte) (int, error) {
	if room := l.limit - l.Len(); len(p) > room {
		l.Buffer.Write(p[:max(room, 0)])
		if l.full != nil {
			return 0, l.full
		}
		return len(p), nil
	}
	return l.Buffer.Write(p)
}

// exitedWith reports whether err is the exit code of a program that ran: nodetune
// exits with 1 and 3 after it has printed a whole report.
func exitedWith(err error, codes ...int) bool {
	var e exec.CodeExitError
	if !errors.As(err, &e) {
		return false
	}
	for _, code := range codes {
		if e.Code == code {
			return true
		}
	}
	return false
}
