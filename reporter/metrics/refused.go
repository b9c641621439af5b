package metrics

import "github.com/prometheus/client_golang/prometheus"

var refused = desc("nodetune_web_refused_total",
	"Connections and requests that the agent refused, since their address has more than one may. What the kernel drops of such an address is not counted.", "kind")

// Refused are the metrics of clients over their rate.
type Refused struct {
	read func() (connections, requests uint64)
}

// NewRefused returns the metrics over what read returns.
func NewRefused(read func() (connections, requests uint64)) *Refused { return &Refused{read} }

// Describe is of [prometheus.Collector].
func (r *Refused) Describe(ch chan<- *prometheus.Desc) { ch <- refused }

// Collect is of [prometheus.Collector].
func (r *Refused) Collect(ch chan<- prometheus.Metric) {
	connections, requests := r.read()
	counter(ch, refused, float64(connections), "connection")
	counter(ch, refused, float64(requests), "request")
}
