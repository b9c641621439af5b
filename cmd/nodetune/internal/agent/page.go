package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/version"
	"github.com/nodetune/nodetune/reporter/page"
)

// status is the data of the node's page, of the last passes.
func (a *Agent) status(now time.Time) page.Status {
	cfg := a.config.Load()
	return page.NewStatus(page.Input{
		Snapshot: a.latest.Snapshot(), Acts: a.acts.Recent(), Conditions: a.kube.node.Conditions(),
		Policy: cfg.Inotify, StaleAfter: cfg.Reporter.Conditions.StaleAfter.D(), Now: now,
		Node: NodeName(a.kube.name, a.roots.Rootfs), Version: version.Read().Version, Command: podCommand(os.Getenv, os.ReadFile, os.Hostname),
		DryRun: a.dryRun, DiskMode: cfg.Disk.Mode,
	})
}

// NodeName is the name of the Node, or else that of the host below rootfs.
func NodeName(node, rootfs string) string {
	if node != "" {
		return node
	}
	if b, err := os.ReadFile(filepath.Join(rootfs, "etc/hostname")); err == nil {
		return strings.TrimSpace(string(b))
	}
	return ""
}

// podNamespace is where a pod finds the name of its namespace.
const podNamespace = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

var plainName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)

// podCommand is how nodetune is run on this node where the agent is in a pod: the
// host has no binary then. It is "" where it is not in a pod, or its name is not
// known.
func podCommand(getenv func(string) string, read func(string) ([]byte, error), hostname func() (string, error)) string {
	if getenv("KUBERNETES_SERVICE_HOST") == "" {
		return ""
	}
	b, err := read(podNamespace)
	pod, errName := hostname()
	namespace := strings.TrimSpace(string(b))
	if err != nil || errName != nil || !plainName.MatchString(namespace) || !plainName.MatchString(pod) {
		return ""
	}
	return fmt.Sprintf("kubectl --namespace %s exec %s -- /nodetune", namespace, pod)
}
