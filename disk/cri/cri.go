// Package cri asks the container runtime of a node, over its CRI socket, whose
// log a file is, and asks it to open that file again.
//
// It needs the socket, for example /run/containerd/containerd.sock. A process that
// may use this socket controls the node. Nothing but ListContainers, ContainerStatus,
// ListPodSandbox, Version and ReopenContainerLog is ever called (CRI v1: containerd 1.6, CRI-O
// 1.23).
//
// Do not call Reopen before the log got another name: CRI-O's conmon renames an
// empty file over it.
package cri

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/nodetune/nodetune/internal/workload"
)

// Sockets are where the runtimes listen, in the order in which they are tried:
// containerd, CRI-O, k3s and RKE2, k0s, MicroK8s.
var Sockets = []string{
	"/run/containerd/containerd.sock", "/run/crio/crio.sock", "/run/k3s/containerd/containerd.sock",
	"/run/k0s/containerd.sock", "/var/snap/microk8s/common/run/containerd.sock",
}

// deadline is how long a call may take. Reopening takes 2 ms, 6 at worst, under
// a container that writes at full speed.
const deadline = 5 * time.Second

// Client speaks to one runtime.
type Client struct {
	conn   *grpc.ClientConn
	client runtime.RuntimeServiceClient

	// Replaces says that this runtime renames a new file over the log itself
	// when it reopens (CRI-O); others open whatever has the name.
	Replaces bool
	Name     string
}

// ErrNoSocket says that no runtime listens where one would.
var ErrNoSocket = errors.New("no CRI socket")

// Dial connects to the runtime at socket, or to the first of Sockets that is
// there, below rootfs.
func Dial(ctx context.Context, rootfs, socket string) (*Client, error) {
	try := Sockets
	if socket != "" {
		try = []string{socket}
	}
	for _, s := range try {
		s = filepath.Join(rootfs, s)
		if _, err := os.Stat(s); err != nil {
			continue
		}
		conn, err := grpc.NewClient("unix:"+s, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return nil, fmt.Errorf("connect to %s: %w", s, err)
		}
		c := &Client{conn: conn, client: runtime.NewRuntimeServiceClient(conn)}
		ctx, cancel := context.WithTimeout(ctx, deadline)
		defer cancel()
		v, err := c.client.Version(ctx, &runtime.VersionRequest{})
		if err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("ask %s for its version: %w", s, err)
		}
		c.Name, c.Replaces = v.RuntimeName, v.RuntimeName == "cri-o"
		return c, nil
	}
	return nil, fmt.Errorf("%w: none of %v", ErrNoSocket, try)
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

// Container returns the id of the running container that writes the log, which
// lies at the path file of the host.
func (c *Client) Container(ctx context.Context, log workload.Log, file string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	list, err := c.client.ListContainers(ctx, &runtime.ListContainersRequest{Filter: &runtime.ContainerFilter{
		State: &runtime.ContainerStateValue{State: runtime.ContainerState_CONTAINER_RUNNING},
		// The kubelet's labels, pkg/kubelet/types/labels.go.
		LabelSelector: map[string]string{
			"io.kubernetes.pod.uid":        log.PodUID,
			"io.kubernetes.container.name": log.Container,
		},
	}})
	if err != nil {
		return "", fmt.Errorf("list the containers of pod %s: %w", log.Pod, err)
	}
	for _, x := range list.Containers {
		s, err := c.client.ContainerStatus(ctx, &runtime.ContainerStatusRequest{ContainerId: x.Id})
		if err != nil {
			continue // it ended
		}
		if path.Clean(s.GetStatus().GetLogPath()) == file {
			return x.Id, nil
		}
	}
	return "", fmt.Errorf("%s: no running container of %s/%s writes it: %w", file, log.Namespace, log.Pod, os.ErrNotExist)
}

// Sandboxes returns the UIDs of the pods of which the runtime has a sandbox,
// running or not.
func (c *Client) Sandboxes(ctx context.Context) (map[string]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	list, err := c.client.ListPodSandbox(ctx, &runtime.ListPodSandboxRequest{})
	if err != nil {
		return nil, fmt.Errorf("list the sandboxes: %w", err)
	}
	uids := map[string]bool{}
	for _, s := range list.Items {
		uids[s.GetMetadata().GetUid()] = true
	}
	return uids, nil
}

// Reopen makes the runtime open the log of the container again.
func (c *Client) Reopen(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	if _, err := c.client.ReopenContainerLog(ctx, &runtime.ReopenContainerLogRequest{ContainerId: id}); err != nil {
		return fmt.Errorf("reopen the log of container %s: %w", id, err)
	}
	return nil
}
