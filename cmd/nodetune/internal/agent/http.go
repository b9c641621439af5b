package agent

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/exporter-toolkit/web"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/version"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/health"
)

// Server serves over HTTP what the agent knows.
type Server struct {
	Addresses  []string // to listen on
	ConfigFile string   // TLS and basic auth as in exporter-toolkit; empty: neither
}

// Validate returns what is wrong with the configuration file.
func (s Server) Validate() error { return web.Validate(s.ConfigFile) }

// listenRetryInterval is how long to wait for an address or a descriptor to come free.
const listenRetryInterval = 5 * time.Second

// serve answers on addr until ctx is done. An address that is taken, or a
// system that has run out of descriptors, is logged and tried again: holding
// the floors does not depend on being watched.
func (s Server) serve(ctx context.Context, addr string, handler http.Handler, log *slog.Logger) {
	logged := ""
	for ctx.Err() == nil {
		err := s.serveOnce(ctx, addr, handler, log)
		if err != nil && ctx.Err() == nil && err.Error() != logged {
			log.Error("cannot serve metrics and probes; retrying", "address", addr, "every", listenRetryInterval, "err", err)
			logged = err.Error()
		}
		select {
		case <-ctx.Done():
		case <-time.After(listenRetryInterval):
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

// handler serves what the agent knows. Nothing in it asks another machine.
func (a *Agent) handler() http.Handler {
	var others []string
	for _, t := range a.tasks {
		if t.name != a.sysctlTask.name {
			others = append(others, t.name)
		}
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", a.metrics.Handler())
	mux.Handle("GET /livez", health.Probe(&a.progress, health.Live(a.sysctlTask.name)))
	mux.Handle("GET /readyz", health.Probe(&a.progress, health.Ready(a.sysctlTask.name, others)))
	mux.HandleFunc("GET /report", a.report)
	landing, err := web.NewLandingPage(web.LandingConfig{
		Name:        "nodetune",
		Description: "Holds this node's inotify and file-descriptor limits above safe floors",
		Version:     version.Read().Version,
		Profiling:   "false",
		Links: []web.LandingLinks{
			{Address: "metrics", Text: "Metrics", Description: "for Prometheus"},
			{Address: "report", Text: "Report", Description: "what 'nodetune check -o json' prints"},
			{Address: "readyz", Text: "Ready", Description: "configuration loaded and every task's first pass done"},
			{Address: "livez", Text: "Alive", Description: "passes end in time"},
		},
	})
	if err == nil { // its template is compiled in
		mux.Handle("GET /{$}", landing)
	}
	return mux
}

// report is the document of `check -o json`, of the last passes.
func (a *Agent) report(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	_ = enc.Encode(reporter.NewDocument(a.latest.Snapshot())) // the client is gone
}
