package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/exporter-toolkit/web"
	"github.com/spf13/pflag"
)

// webFlags are named as in every Prometheus exporter.
type webFlags struct {
	listen []string
	config string
}

func (f *webFlags) register(flags *pflag.FlagSet) {
	flags.StringSliceVar(&f.listen, "web.listen-address", []string{":9409"},
		"`address` to serve /metrics, /livez and /readyz on; repeat for more; empty: serve nothing")
	flags.StringVar(&f.config, "web.config.file", "",
		"`file` with TLS and basic auth, see https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md")
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
	if err := web.Validate(f.config); err != nil {
		return fmt.Errorf("--web.config.file %s: %w", f.config, err)
	}
	return nil
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

// listenRetry is how long to wait for an address or a descriptor to come free.
const listenRetry = 5 * time.Second

// serve answers on addr until ctx is done. An address that is taken, or a
// system that has run out of descriptors, is logged and tried again: holding
// the floors does not depend on being watched.
func (f *webFlags) serve(ctx context.Context, addr string, handler http.Handler, log *slog.Logger) {
	said := ""
	for ctx.Err() == nil {
		err := f.serveOnce(ctx, addr, handler, log)
		if err != nil && ctx.Err() == nil && err.Error() != said {
			log.Error("cannot serve metrics and probes; trying again", "address", addr, "every", listenRetry, "err", err)
			said = err.Error()
		}
		select {
		case <-ctx.Done():
		case <-time.After(listenRetry):
		}
	}
}

func (f *webFlags) serveOnce(ctx context.Context, addr string, handler http.Handler, log *slog.Logger) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler: handler,
		// A client that says nothing must not hold a descriptor for ever.
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	// Serve reads the certificates again for every connection, so that a
	// rotated one needs no restart.
	err = web.Serve(listener, server, &web.FlagConfig{WebConfigFile: &f.config}, log)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return errors.Join(err, server.Close())
}
