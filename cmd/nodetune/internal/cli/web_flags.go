package cli

import (
	"fmt"
	"net"

	"github.com/spf13/pflag"

	"github.com/nodetune/nodetune/reporter/web"
)

// webFlags are named as in every Prometheus exporter.
type webFlags struct {
	listen []string
	config string
}

func (f *webFlags) register(flags *pflag.FlagSet) {
	flags.StringSliceVar(&f.listen, "web.listen-address", []string{":9409"},
		"`address` to serve /metrics, /livez, /readyz and, as web.report of the configuration says, /report on; repeat for more; empty: serve nothing")
	flags.StringVar(&f.config, "web.config.file", "",
		"`file` with TLS and basic auth; probes need neither, and are also answered over HTTP; see https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md")
}

func (f *webFlags) validate() error {
	for _, addr := range f.addresses() {
		_, port, err := net.SplitHostPort(addr)
		if err == nil {
			_, err = net.LookupPort("tcp", port)
		}
		if err != nil {
			return fmt.Errorf("--web.listen-address %q: %w; want for example :9409 or 127.0.0.1:9409", addr, err)
		}
	}
	if err := f.server().Validate(); err != nil {
		return fmt.Errorf("--web.config.file %s: %w", f.config, err)
	}
	return nil
}

func (f *webFlags) server() web.Server {
	return web.Server{Addresses: f.addresses(), ConfigFile: f.config}
}

// own is where a process of this host reaches the agent; "" where it does not listen.
func (f *webFlags) own() string {
	for _, a := range f.addresses() {
		host, port, err := net.SplitHostPort(a)
		if err != nil {
			continue
		}
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			host = "127.0.0.1"
		}
		scheme := "http"
		if f.config != "" {
			scheme = "https"
		}
		return scheme + "://" + net.JoinHostPort(host, port)
	}
	return ""
}

// addresses leaves out the empty one, which is how a flag says none.
func (f *webFlags) addresses() []string {
	var all []string
	for _, a := range f.listen {
		if a != "" {
			all = append(all, a)
		}
	}
	return all
}
