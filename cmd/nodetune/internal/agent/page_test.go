package agent

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
)

// The line to paste on the node's page names the pod, or there is none.
func TestPodCommand(t *testing.T) {
	const host, pod = "KUBERNETES_SERVICE_HOST=10.96.0.1 ", "nodetune-7kq2x"
	line := func(namespace, pod string) string {
		return "kubectl --namespace " + namespace + " exec " + pod + " -- /nodetune"
	}
	long := strings.Repeat("a-long-release-name-", 4) + "nodetune-7kq2x"
	for name, tt := range map[string]struct {
		env, hostname, namespace string // namespace: of the token's directory
		want                     string
	}{
		"not in a pod":                        {"", "node-1", "", ""},
		"not in a pod, a variable of a shell": {"POD_NAME=x POD_NAMESPACE=y", "node-1", "", ""},
		"downward API":                        {host + "POD_NAME=" + pod + " POD_NAMESPACE=tools", pod, "tools", line("tools", pod)},
		"hostNetwork":                         {host + "NODE_NAME=node-1 POD_NAME=" + pod + " POD_NAMESPACE=tools", "node-1", "tools", line("tools", pod)},
		"without a token":                     {host + "POD_NAME=" + pod + " POD_NAMESPACE=tools", pod, "", line("tools", pod)},
		"a name of more than 63 bytes":        {host + "POD_NAME=" + long + " POD_NAMESPACE=tools", long[:63], "tools", line("tools", long)},
		"POD_NAME alone":                      {host + "POD_NAME=" + pod, "node-1", "tools", line("tools", pod)},
		"older manifests":                     {host + "NODE_NAME=node-1", pod, "tools", line("tools", pod)},
		"older manifests, no token":           {host, pod, "", ""},
		"older manifests, hostNetwork":        {host + "NODE_NAME=node-1", "node-1", "tools", ""},
		"a Node with a domain":                {host + "NODE_NAME=node-1.example.com", "node-1", "tools", ""},
		"a hostname with a domain":            {host + "NODE_NAME=node-1", "node-1.example.com", "tools", ""},
		"older manifests, a cut name":         {host + "NODE_NAME=node-1", long[:63], "tools", ""},
		"no hostname":                         {host, "", "tools", ""},
		"words of a shell in the name":        {host + "POD_NAME=x;reboot POD_NAMESPACE=tools", pod, "tools", ""},
		"words of a shell in the namespace":   {host + "POD_NAME=x POD_NAMESPACE=$(reboot)", pod, "tools", ""},
		"an option as the name":               {host + "POD_NAME=--all POD_NAMESPACE=tools", pod, "tools", ""},
	} {
		t.Run(name, func(t *testing.T) {
			env := map[string]string{}
			for _, v := range strings.Fields(tt.env) {
				key, value, _ := strings.Cut(v, "=")
				env[key] = value
			}
			got := podCommand(func(key string) string { return env[key] },
				func(string) ([]byte, error) {
					if tt.namespace == "" {
						return nil, fs.ErrNotExist
					}
					return []byte(tt.namespace + "\n"), nil
				},
				func() (string, error) {
					if tt.hostname == "" {
						return "", errors.New("none")
					}
					return tt.hostname, nil
				})
			if got != tt.want {
				t.Errorf("the line is %q, want %q", got, tt.want)
			}
		})
	}
}
