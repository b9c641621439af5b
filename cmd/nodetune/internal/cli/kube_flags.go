package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/version"
	"github.com/nodetune/nodetune/reporter/kube"
)

// kubeFlags select the API server, if any, and the Node to publish for.
type kubeFlags struct {
	nodeName   string
	kubeconfig string
}

func (f *kubeFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.nodeName, "node-name", "", "`name` of this machine's Node, to publish conditions and Events for (default $NODE_NAME; empty: without Kubernetes)")
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig `file` of the API server (default: the pod's service account)")
}

// client returns a client for the API server, or nil where none is wanted.
func (f *kubeFlags) client() (*kube.Client, error) {
	asked := f.nodeName != "" || f.kubeconfig != ""
	if f.nodeName == "" {
		f.nodeName = os.Getenv("NODE_NAME")
	}
	if f.nodeName == "" {
		if f.kubeconfig != "" {
			return nil, errors.New("--kubeconfig: whose conditions to publish? give --node-name or set NODE_NAME")
		}
		return nil, nil
	}
	c, err := f.config()
	if errors.Is(err, rest.ErrNotInCluster) && !asked {
		return nil, nil // a pod without a service account's token has no such wish
	}
	if err != nil {
		return nil, fmt.Errorf("publish for node %s: %w", f.nodeName, err)
	}
	return kube.NewClient(c)
}

func (f *kubeFlags) config() (*rest.Config, error) {
	var c *rest.Config
	var err error
	if f.kubeconfig != "" {
		c, err = clientcmd.BuildConfigFromFlags("", f.kubeconfig)
	} else {
		c, err = rest.InClusterConfig()
	}
	if err != nil {
		return nil, err
	}
	c.UserAgent = "nodetune/" + version.Read().Version
	// One node publishes little. Whatever goes wrong here, 5,000 nodes together must
	// not overload the API server.
	c.QPS, c.Burst = 2, 5
	c.DisableCompression = true // a gzip window for each watch costs more than a Node's few kilobytes
	c.WarningHandler = rest.NoWarnings{}
	return c, nil
}
