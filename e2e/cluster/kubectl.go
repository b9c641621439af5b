package cluster

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// Kubectl runs the real kubectl as the administrator and returns what it
// printed to stdout.
func (a *API) Kubectl(ctx context.Context, args ...string) (string, error) {
	return a.KubectlInput(ctx, "", args...)
}

// KubectlInput is Kubectl with text on stdin, for apply -f -.
func (a *API) KubectlInput(ctx context.Context, stdin string, args ...string) (string, error) {
	kubectl, err := tool("kubectl")
	if err != nil {
		return "", err
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, kubectl, append([]string{"--kubeconfig=" + a.Kubeconfig}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}
