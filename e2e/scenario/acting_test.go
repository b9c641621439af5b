package scenario

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// actingGrants are the rows of the table in deploy/README.md that only assist
// has. With them a log that is not root's is rotated; without one it stays as it
// is, and the output says which is missing.
var actingGrants = []struct {
	row  string
	args []string
	lose func(*corev1.PodSpec)
	says string
}{
	{"hostPath `/var/log`, read-write (overlay assist)", nil, func(p *corev1.PodSpec) {
		mounts := p.Containers[0].VolumeMounts
		mounts[slices.IndexFunc(mounts, func(m corev1.VolumeMount) bool { return m.Name == "log" })].ReadOnly = true
	}, "read-only file system"},
	{"`LEASE` (overlay assist)", nil, func(p *corev1.PodSpec) { dropCapability(p, "LEASE") }, "CAP_LEASE"},
	{"`CHOWN` (overlay assist)", nil, func(p *corev1.PodSpec) { dropCapability(p, "CHOWN") }, "CAP_CHOWN"},
	{"`FOWNER` (overlay assist)", nil, func(p *corev1.PodSpec) { dropCapability(p, "FOWNER") }, "CAP_FOWNER"},
	{"`DAC_OVERRIDE` (overlay assist)", []string{"--in-place"}, func(p *corev1.PodSpec) { dropCapability(p, "DAC_OVERRIDE") }, "CAP_DAC_OVERRIDE"},
}

func TestGrantsOfActing(t *testing.T) {
	ns := node.Namespace(t, nil)
	dir := "/var/log/app"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	content := strings.Repeat("a line of another user\n", 10_000)
	for i, g := range actingGrants {
		t.Run(g.row, func(t *testing.T) {
			t.Parallel()
			inTable(t, g.row)
			file := filepath.Join(dir, fmt.Sprintf("%d.log", i))
			if err := os.WriteFile(file, []byte(content), 0o640); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(file, 1000, 1000); err != nil {
				t.Fatal(err)
			}
			args := append([]string{"disk", "rotate", file}, g.args...)
			spec := agentSpec(t, "assist")
			g.lose(&spec)
			text := runPod(t, ns, fmt.Sprintf("without-%d", i), spec, args...)
			if b, err := os.ReadFile(file); err != nil || string(b) != content {
				t.Errorf("without the grant the log has %d of %d bytes, %v", len(b), len(content), err)
			}
			if all, _ := filepath.Glob(file + ".*"); len(all) > 0 {
				t.Errorf("without the grant there are %q", all)
			}
			if !strings.Contains(text, g.says) {
				t.Errorf("it does not say %q:\n%s", g.says, text)
			}
			text = runPod(t, ns, fmt.Sprintf("with-%d", i), agentSpec(t, "assist"), args...)
			all, _ := filepath.Glob(file + ".*.gz")
			if len(all) != 1 {
				t.Fatalf("with the grant there are %q:\n%s", all, text)
			}
			archive, err := unpack(all[0])
			if err != nil {
				t.Fatal(err)
			}
			live, err := os.ReadFile(file) // in place the last block stays
			if err != nil || string(archive)+string(live) != content {
				t.Errorf("archive %d, log %d of %d bytes, %v", len(archive), len(live), len(content), err)
			}
		})
	}
}

// Without the runtime's socket the kubelet rotates alone, and assist says so.
func TestGrantRuntimeSocket(t *testing.T) {
	inTable(t, "hostPath `/run/containerd`, read-only (overlay assist)") // with it: TestBurst
	holdKernel(t)
	text := kustomize(t, "assist")
	for _, part := range []string{
		"        - mountPath: /host/root/run/containerd\n          name: runtime\n          readOnly: true\n",
		"      - hostPath:\n          path: /run/containerd\n          type: DirectoryOrCreate\n        name: runtime\n",
	} {
		if !strings.Contains(text, part) {
			t.Fatalf("assist has not\n%s", part)
		}
		text = strings.Replace(text, part, "", 1)
	}
	set(t, maxInstances, "128")
	installText(t, text)
	waitLog(t, "no CRI socket")
	waitValue(t, maxInstances, "8192")
}
