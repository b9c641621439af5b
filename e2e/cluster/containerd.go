package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

const containerdSocket = "/run/containerd/containerd.sock"

// containerdConfig: restrict_oom_score_adj because a machine without
// CAP_SYS_RESOURCE cannot lower oom_score_adj and runc then dies with "can't
// get final child's PID from pipe: EOF".
const containerdConfig = `version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "` + containerdSocket + `"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "` + PauseImage + `"
  restrict_oom_score_adj = true
  disable_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = %q
`

const cniConfig = `{
  "cniVersion": "0.4.0",
  "name": "e2e",
  "plugins": [
    {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
     "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.0.0/16"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
    {"type": "loopback"}
  ]
}
`

// CNIConfig is the file that configures the network of pods. containerd watches its
// directory, and reports no network while it is not there.
func (c *Cluster) CNIConfig() string { return filepath.Join(c.dir, "cni", "10-e2e.conflist") }

func (c *Cluster) startContainerd(ctx context.Context) error {
	cni := filepath.Dir(c.CNIConfig())
	if err := os.MkdirAll(cni, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(c.CNIConfig(), []byte(cniConfig), 0o644); err != nil {
		return err
	}
	config := filepath.Join(c.dir, "containerd.toml")
	if err := os.WriteFile(config, fmt.Appendf(nil, containerdConfig, cni), 0o644); err != nil {
		return err
	}
	c.Containerd = &Process{
		name: "containerd",
		args: []string{"containerd", "--config=" + config},
		log:  filepath.Join(c.dir, "containerd.log"),
		ready: func(ctx context.Context, _ time.Time) error {
			if out, err := ctr(ctx, "version"); err != nil {
				return fmt.Errorf("ctr version: %w: %s", err, out)
			}
			return nil
		},
	}
	if err := c.Containerd.Start(ctx); err != nil {
		return err
	}
	return c.loadBaseImages(ctx)
}

func ctr(ctx context.Context, args ...string) ([]byte, error) {
	args = append([]string{"--address", containerdSocket, "--namespace", "k8s.io"}, args...)
	return exec.CommandContext(ctx, "ctr", args...).CombinedOutput()
}
