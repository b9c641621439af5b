package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/version"
	"github.com/nodetune/nodetune/reporter/page"
	"k8s.io/apimachinery/pkg/util/validation"
)

// status is the data of the node's page, of the last passes.
func (a *Agent) status(now time.Time) page.Status {
	cfg := a.config.Load()
	return page.NewStatus(page.Input{
		Snapshot: a.snapshot(), Acts: a.acts.Recent(), Conditions: a.kube.node.Conditions(),
		Policy: cfg.Inotify, StaleAfter: cfg.Reporter.Conditions.StaleAfter.D(), Now: now,
		Node: NodeName(a.kube.name, a.roots.Rootfs), Version: version.Read().Version, Command: PodCommand(),
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

// podNamespace is where a pod with a token finds the name of its namespace.
const podNamespace = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// PodCommand is how nodetune is run on this node where this process is in a pod: the
// host has no binary then. It is "" where the process is not in a pod, or the name of
// the pod is not known.
func PodCommand() string { return podCommand(os.Getenv, os.ReadFile, os.Hostname) }

// podCommand prefers the variables of the downward API. The hostname of a pod is its
// name only where it has at most 63 bytes and the pod is not on the host's network.
func podCommand(getenv func(string) string, read func(string) ([]byte, error), hostname func() (string, error)) string {
	if getenv("KUBERNETES_SERVICE_HOST") == "" {
		return ""
	}
	pod, namespace := getenv("POD_NAME"), getenv("POD_NAMESPACE")
	if pod == "" {
		name, err := hostname()
		if err != nil || len(name) >= 63 || ofNode(name, getenv("NODE_NAME")) {
			return ""
		}
		pod = name
	}
	if namespace == "" {
		b, err := read(podNamespace)
		if err != nil {
			return ""
		}
		namespace = strings.TrimSpace(string(b))
	}
	if len(validation.IsDNS1123Subdomain(namespace)) > 0 || len(validation.IsDNS1123Subdomain(pod)) > 0 {
		return ""
	}
	return fmt.Sprintf("kubectl --namespace %s exec %s -- /nodetune", namespace, pod)
}

// ofNode reports whether a hostname is that of the node, whose name may have a domain
// that the hostname lacks, or the other way round.
func ofNode(hostname, node string) bool {
	short := func(name string) string { first, _, _ := strings.Cut(name, "."); return first }
	return node != "" && short(hostname) == short(node)
}
