package web

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	toolkit "github.com/prometheus/exporter-toolkit/web"
)

const (
	// A client gets this long for its header, so that one that sends nothing does
	// not keep a connection.
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	// writeTimeout is below Prometheus' usual scrape interval of 15 to 60 s: a
	// client that does not read is gone when the next one comes.
	writeTimeout   = 15 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 16 << 10
	// maxStreams of one HTTP/2 connection.
	maxStreams = 8
)

// Server serves handlers on one or more addresses.
type Server struct {
	Addresses  []string // to listen on
	ConfigFile string   // TLS and basic auth as in exporter-toolkit; empty: neither
	Procfs     string   // has the addresses of the node, which have no rate
	Refused    *Refused // to addresses over their rate
}

// Validate returns what is wrong with the configuration file.
func (s Server) Validate() error { return toolkit.Validate(s.ConfigFile) }

// listenRetryInterval is how long to wait for an address or a descriptor to come free.
const listenRetryInterval = 5 * time.Second

// Serve answers on addr until ctx is done. An address that is taken, or a system
// that has run out of descriptors, is logged and tried again: holding the floors
// does not depend on being watched.
func (s Server) Serve(ctx context.Context, addr string, h Handlers, log *slog.Logger) {
	logged := ""
	for ctx.Err() == nil {
		sockets, err := listen(ctx, addr)
		if err == nil {
			err = s.serve(ctx, sockets, h, log)
		}
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

// serve answers on listener until ctx is done.
//
// exporter-toolkit asks for a password before it calls a handler. What needs none
// of its passwords is answered in front of it.
func (s Server) serve(ctx context.Context, listener net.Listener, h Handlers, log *slog.Logger) error {
	own := func() (map[netip.Addr]bool, error) { return nodeAddresses(s.Procfs) }
	others := listener
	if q, ok := listener.(*queues); ok {
		others = q.Listener
		choosing, end := context.WithCancel(ctx)
		defer end()
		go q.keepChoosing(choosing, own, log)
	}
	rates := newRates(own, muter(others), cmp.Or(s.Refused, new(Refused)), log)
	conns := newSplit(&connections{Listener: listener, rates: rates})
	main, probes := newServer(log), newServer(log)
	main.Handler = h.behindPassword()
	// Called once, after exporter-toolkit has set the handler and the TLS
	// configuration and before the first connection is accepted.
	main.BaseContext = func(net.Listener) context.Context {
		main.Handler = rates.requests(h.inFrontOf(main.Handler))
		probes.Handler = rates.requests(h.onlyProbes())
		if main.TLSConfig == nil || main.TLSConfig.GetCertificate == nil { // HTTP/2 sets an empty one
			probes.Handler = main.Handler
		}
		go func() { _ = probes.Serve(half{conns, conns.plain}) }()
		go conns.run()
		return context.Background()
	}
	stop := context.AfterFunc(ctx, func() { conns.close(http.ErrServerClosed) })
	defer stop()
	// Serve reads the certificates again for every connection, so that a
	// rotated one needs no restart.
	err := toolkit.Serve(half{conns, conns.tls}, main, &toolkit.FlagConfig{WebConfigFile: &s.ConfigFile}, log)
	conns.close(http.ErrServerClosed)
	closed := errors.Join(main.Close(), probes.Close())
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return errors.Join(err, closed)
}

func newServer(log *slog.Logger) *http.Server {
	return &http.Server{
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         stateChanged,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams, MaxReceiveBufferPerConnection: 64 << 10, MaxReceiveBufferPerStream: 64 << 10},
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
