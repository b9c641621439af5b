package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/version"
)

// kubeconfigFlags find the API server as kubectl does: --kubeconfig, then
// $KUBECONFIG, then ~/.kube/config, then the pod's service account; --context,
// --cluster, --user, --as, --server, --token and so on override it.
type kubeconfigFlags struct {
	rules     clientcmd.ClientConfigLoadingRules
	overrides clientcmd.ConfigOverrides
}

func (f *kubeconfigFlags) register(flags *pflag.FlagSet) {
	f.rules = *clientcmd.NewDefaultClientConfigLoadingRules()
	flags.StringVar(&f.rules.ExplicitPath, "kubeconfig", "", "kubeconfig `file` of the API server (default $KUBECONFIG, ~/.kube/config, or the pod's service account)")
	names := clientcmd.RecommendedConfigOverrideFlags("")
	names.ContextOverrideFlags.Namespace.LongName = "" // nodes have none
	clientcmd.BindOverrideFlags(&f.overrides, flags, names)
}

func (f *kubeconfigFlags) config() (*rest.Config, error) {
	c, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(&f.rules, &f.overrides).ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return nil, errors.New("find the API server: there is no kubeconfig; give --kubeconfig, or set KUBECONFIG")
	}
	if err != nil {
		return nil, fmt.Errorf("find the API server: %w", err)
	}
	c.UserAgent = "nodetune/" + version.Read().Version
	c.QPS, c.Burst = 50, 100 // kubectl's burst is 300; --all patches one Node after the other
	return c, nil
}
