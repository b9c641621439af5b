package cri

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/nodetune/nodetune/disk/containerlog"
	"github.com/nodetune/nodetune/disk/hostconfig"
	"github.com/nodetune/nodetune/internal/privtest"
	"github.com/nodetune/nodetune/internal/workload"
)

// node is a real containerd in mount and pid namespaces of its own, with its
// /run and /var/log below root: nothing of it outlives the test.
type node struct {
	root    string
	cgroup  string
	client  *Client
	runtime runtime.RuntimeServiceClient
}

const (
	image  = "nodetune.test/shell:1" // busybox, for sandboxes too
	podUID = "11111111-2222-3333-4444-555555555555"
)

// nodeConfig: what the e2e cluster's containerd needs, too. Pods use the host's
// network, so that there is no CNI.
const nodeConfig = `version = 2
root = %q
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "` + image + `"
  restrict_oom_score_adj = true
  disable_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
`

func startNode(t *testing.T) *node {
	t.Helper()
	privtest.Root(t)
	n := &node{root: t.TempDir(), cgroup: fmt.Sprint("nodetune-cri-", os.Getpid())}
	for _, dir := range []string{"run/containerd", "var/log/pods", "lib"} {
		must(t, os.MkdirAll(filepath.Join(n.root, dir), 0o755))
	}
	config := filepath.Join(n.root, "containerd.toml")
	must(t, os.WriteFile(config, fmt.Appendf(nil, nodeConfig, filepath.Join(n.root, "lib")), 0o600))
	t.Cleanup(func() { removeCgroups(n.cgroup) })
	isolated(t, filepath.Join(n.root, "containerd.out"),
		`mount --bind "$1/run" /run && mount --bind "$1/var/log" /var/log && exec containerd --config "$2"`, n.root, config)
	var err error
	for deadline := time.Now().Add(time.Minute); n.client == nil; time.Sleep(100 * time.Millisecond) {
		if n.client, err = Dial(context.Background(), n.root, ""); err != nil && time.Now().After(deadline) {
			out, _ := os.ReadFile(filepath.Join(n.root, "containerd.out"))
			t.Fatalf("%v\n%s", err, out)
		}
	}
	t.Cleanup(func() { n.client.Close() })
	socket := filepath.Join(n.root, Sockets[0])
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	n.runtime = runtime.NewRuntimeServiceClient(conn)
	archive := filepath.Join(n.root, "image.tar")
	writeImage(t, archive)
	if out, err := exec.Command("ctr", "--address", socket, "--namespace", "k8s.io", "images", "import", archive).CombinedOutput(); err != nil {
		t.Fatalf("import: %v: %s", err, out)
	}
	return n
}

// isolated runs a shell script in namespaces of its own, which end with t.
func isolated(t *testing.T, output, script string, args ...string) {
	t.Helper()
	out, err := os.Create(output)
	must(t, err)
	defer out.Close()
	cmd := exec.Command("unshare", append([]string{"--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script, "sh"}, args...)...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
}

// removeCgroups removes what a containerd that was killed has left.
func removeCgroups(name string) {
	tops, _ := filepath.Glob("/sys/fs/cgroup/*/" + name)
	for _, top := range append(tops, "/sys/fs/cgroup/"+name) {
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			var dirs []string
			_ = filepath.WalkDir(top, func(p string, e fs.DirEntry, err error) error {
				if err == nil && e.IsDir() {
					dirs = append(dirs, p)
				}
				return nil
			})
			for _, d := range slices.Backward(dirs) {
				_ = syscall.Rmdir(d)
			}
			if _, err := os.Stat(top); errors.Is(err, os.ErrNotExist) {
				break
			}
		}
	}
}

// writeImage writes an image of busybox in the format of docker save.
func writeImage(t *testing.T, to string) {
	t.Helper()
	busybox, err := os.ReadFile("/bin/busybox")
	must(t, err)
	var layer bytes.Buffer
	add := func(w *tar.Writer, name string, mode int64, b []byte) {
		must(t, w.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(b))}))
		_, err := w.Write(b)
		must(t, err)
	}
	l := tar.NewWriter(&layer)
	for _, dir := range []string{"bin/", "tmp/", "etc/"} {
		must(t, l.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o777}))
	}
	add(l, "bin/busybox", 0o755, busybox)
	for _, applet := range []string{"sh", "seq", "sleep", "touch", "head", "tr", "printf", "echo"} {
		must(t, l.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + applet, Linkname: "busybox"}))
	}
	must(t, l.Close())
	config, err := json.Marshal(map[string]any{
		"architecture": "amd64", "os": "linux",
		"config": map[string]any{"Entrypoint": []string{"/bin/sleep", "2147483647"}, "Env": []string{"PATH=/bin"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer.Bytes()))}},
	})
	must(t, err)
	manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{image}, "Layers": []string{"layer.tar"}}})
	must(t, err)
	f, err := os.Create(to)
	must(t, err)
	w := tar.NewWriter(f)
	add(w, "manifest.json", 0o644, manifest)
	add(w, "config.json", 0o644, config)
	add(w, "layer.tar", 0o644, layer.Bytes())
	must(t, errors.Join(w.Close(), f.Close()))
}

// container is a running container and where its log lies.
type container struct {
	n   *node
	id  string
	dir string // of its log
}

// start runs a shell script in a container of a pod of its own, as the kubelet
// does.
func (n *node) start(t *testing.T, name, script string) *container {
	t.Helper()
	ctx := t.Context()
	pod := "/var/log/pods/default_" + name + "_" + podUID
	c := &container{n: n, dir: filepath.Join(n.root, pod, name)}
	must(t, os.MkdirAll(c.dir, 0o755))
	host := &runtime.LinuxSandboxSecurityContext{NamespaceOptions: &runtime.NamespaceOption{Network: runtime.NamespaceMode_NODE}}
	sandbox := &runtime.PodSandboxConfig{
		Metadata:     &runtime.PodSandboxMetadata{Name: name, Namespace: "default", Uid: podUID},
		LogDirectory: pod,
		Linux:        &runtime.LinuxPodSandboxConfig{CgroupParent: "/" + n.cgroup, SecurityContext: host},
	}
	p, err := n.runtime.RunPodSandbox(ctx, &runtime.RunPodSandboxRequest{Config: sandbox})
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, err := n.runtime.StopPodSandbox(ctx, &runtime.StopPodSandboxRequest{PodSandboxId: p.PodSandboxId})
		if err == nil {
			_, err = n.runtime.RemovePodSandbox(ctx, &runtime.RemovePodSandboxRequest{PodSandboxId: p.PodSandboxId})
		}
		if err != nil {
			t.Error(err)
		}
	})
	made, err := n.runtime.CreateContainer(ctx, &runtime.CreateContainerRequest{PodSandboxId: p.PodSandboxId, SandboxConfig: sandbox, Config: &runtime.ContainerConfig{
		Metadata: &runtime.ContainerMetadata{Name: name},
		Image:    &runtime.ImageSpec{Image: image},
		Command:  []string{"/bin/sh", "-c", script},
		Labels:   map[string]string{"io.kubernetes.pod.uid": podUID, "io.kubernetes.container.name": name},
		LogPath:  name + "/0.log",
		Linux: &runtime.LinuxContainerConfig{SecurityContext: &runtime.LinuxContainerSecurityContext{
			NamespaceOptions: &runtime.NamespaceOption{Network: runtime.NamespaceMode_NODE},
		}},
	}})
	must(t, err)
	c.id = made.ContainerId
	_, err = n.runtime.StartContainer(ctx, &runtime.StartContainerRequest{ContainerId: c.id})
	must(t, err)
	return c
}

// touch makes the file /tmp/name, which the container's script waits for.
func (c *container) touch(t *testing.T, name string) {
	t.Helper()
	r, err := c.n.runtime.ExecSync(t.Context(), &runtime.ExecSyncRequest{ContainerId: c.id, Cmd: []string{"/bin/touch", "/tmp/" + name}, Timeout: 60})
	if err != nil || r.ExitCode != 0 {
		t.Fatalf("touch: %v, %v", r, err)
	}
}

// bursts rotates the logs of n above limit, and keeps every archive.
func (n *node) bursts(limit int64, wait time.Duration, reopen func(context.Context, string) error) (*containerlog.Rotator, error) {
	return containerlog.New("/proc", n.root, kubelet(limit), wait, func(ctx context.Context, l workload.Log, file string) (containerlog.Runtime, error) {
		id, err := n.client.Container(ctx, l, file)
		return containerlog.Runtime{Reopen: func(ctx context.Context) error { return reopen(ctx, id) }, Replaces: n.client.Replaces}, err
	})
}

func kubelet(limit int64) hostconfig.Kubelet {
	return hostconfig.Kubelet{RootDir: "/var/lib/kubelet", PodLogs: "/var/log/pods", LogMaxSizeBytes: limit, LogMaxFiles: 100_000, LogMonitorInterval: 0.01}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
