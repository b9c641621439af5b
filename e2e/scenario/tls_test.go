package scenario

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nodetune/nodetune/e2e/cluster"
	"github.com/nodetune/nodetune/e2e/sandbox"
)

// The overlay tls: the kubelet's probes find the agent, and so does nodes --live
// through the API server.
func TestTLS(t *testing.T) {
	holdKernel(t)
	secret := map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
		"metadata": map[string]string{"name": "nodetune-tls", "namespace": namespace},
	}
	data := map[string]string{}
	for _, name := range []string{"crt", "key"} {
		b, err := os.ReadFile(filepath.Join(sandbox.Dir(), "cluster/pki", "apiserver."+name)) // any certificate serves
		if err != nil {
			t.Fatal(err)
		}
		data["tls."+name] = base64.StdEncoding.EncodeToString(b)
	}
	secret["data"] = data
	b, err := json.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	text := node.MustKubectl(t, "", "kustomize", filepath.Join(deploy, "overlays/tls"))
	text = strings.Replace(text, "    kind: Configuration\n", "    kind: Configuration\n    web: {report: open}\n", 1)
	installText(t, text+"\n---\n"+string(b))
	cluster.Eventually(t, "nodes --live has an answer", func(ctx context.Context) error {
		out, err := nodetune(ctx, "nodes", "--live", "-o", "json", "--kubeconfig="+node.Kubeconfig)
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		var doc struct {
			Nodes []struct {
				Live struct {
					Instances struct{ Limit int64 }
					Error     string
				}
			}
		}
		if err := json.Unmarshal([]byte(out), &doc); err != nil {
			return err
		}
		if len(doc.Nodes) != 1 {
			return fmt.Errorf("want one node: %s", out)
		}
		if live := doc.Nodes[0].Live; live.Error != "" || live.Instances.Limit != 8192 {
			return fmt.Errorf("the agent says %+v", live)
		}
		return nil
	})
}
