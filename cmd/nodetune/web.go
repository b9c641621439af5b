package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/exporter-toolkit/web"
)

// Server serves over HTTP what the agent knows.
type Server struct {
	Addresses  []string // to listen on
	ConfigFile string   // TLS and basic auth as in exporter-toolkit; empty: neither
}

// Validate returns what is wrong with the configuration file.
func (s Server) Validate() error { return web.Validate(s.ConfigFile) }

// listenRetry is how long to wait for an address or a descriptor to come free.
const listenRetry = 5 * time.Second

// serve answers on addr until ctx is done. An address that is taken, or a
// system that has run out of descriptors, is logged and tried again: holding
// the floors does not depend on being watched.
func (s Server) serve(ctx context.Context, addr string, handler http.Handler, log *slog.Logger) {
	logged := ""
	for ctx.Err() == nil {
		err := s.serveOnce(ctx, addr, handler, log)
		if err != nil && ctx.Err() == nil && err.Error() != logged {
			log.Error("cannot serve metrics and probes; retrying", "address", addr, "every", listenRetry, "err", err)
			logged = err.Error()
		}
		select {
		case <-ctx.Done():
		case <-time.After(listenRetry):
		}
	}
}

func (s Server) serveOnce(ctx context.Context, addr string, handler http.Handler, log *slog.Logger) error {
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
	err = web.Serve(listener, server, &web.FlagConfig{WebConfigFile: &s.ConfigFile}, log)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return errors.Join(err, server.Close())
}
