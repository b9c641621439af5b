package metrics

import "github.com/prometheus/client_golang/prometheus"

// NOFILERaises counts the limits of descriptors that were raised.
type NOFILERaises struct{ *prometheus.CounterVec }

// NewNOFILERaises returns counters at zero.
func NewNOFILERaises() NOFILERaises {
	c := NOFILERaises{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "nodetune_nofile_raises_total",
		Help: "Soft RLIMIT_NOFILE of processes that nodetune raised (inotify.raiseNOFILE), by result: success or error.",
	}, []string{"result"})}
	// An increase from nothing to 1 is none for Prometheus.
	c.WithLabelValues("success")
	c.WithLabelValues("error")
	return c
}

// Count adds a raise that ended with err.
func (c NOFILERaises) Count(err error) {
	result := "success"
	if err != nil {
		result = "error"
	}
	c.WithLabelValues(result).Inc()
}
