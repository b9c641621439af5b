package web

import (
	"net"
	"net/http"
	"strings"
)

// Handlers answer the paths.
type Handlers struct {
	Metrics, Live, Ready http.Handler
	Report               http.Handler
	Page                 *Page
	Policy               func() Policy
	Authorize            Authorizer // nil: no API server is known to ask
}

// How many requests of a path are answered at once. More get 503. Each takes
// some ten KiB beside an answer that all clients share, or, of /metrics, some
// hundred KiB.
const (
	maxMetrics = 4
	maxReports = 4
	maxProbes  = 16
	maxPages   = 4
)

// inFlight answers at most n requests at once.
func inFlight(n int, h http.Handler) http.Handler {
	slots := make(chan struct{}, n)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
			h.ServeHTTP(w, r)
		default:
			w.Header().Set("Retry-After", "5")
			w.Header().Set("Connection", "close")
			http.Error(w, "nodetune answers as many requests for this path as it may; try again", http.StatusServiceUnavailable)
		}
	})
}

// onlyProbes answers requests without TLS on a port with TLS: those of a kubelet
// that has no client certificate.
func (h Handlers) onlyProbes() http.Handler {
	mux := h.probes()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "this port speaks HTTPS; only /livez and /readyz are answered over HTTP", http.StatusBadRequest)
	})
	return mux
}

func (h Handlers) probes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("GET /livez", inFlight(maxProbes, h.Live))
	mux.Handle("GET /readyz", inFlight(maxProbes, h.Ready))
	return mux
}

// inFrontOf answers what needs no password of exporter-toolkit: probes, and
// requests with a bearer token, which the API server is asked about.
func (h Handlers) inFrontOf(passwords http.Handler) http.Handler {
	mux := h.probes()
	// A bcrypt comparison takes 64 ms of CPU and one is made at a time.
	passwords = inFlight(maxMetrics+maxReports+2*maxPages, passwords)
	guarded := h.guarded()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if _, ok := bearerToken(r); ok && isGuarded(r.URL.Path) && h.Policy().Report == Authorised {
			guarded.ServeHTTP(w, r)
			return
		}
		passwords.ServeHTTP(w, r)
	})
	return mux
}

// behindPassword answers everything else.
func (h Handlers) behindPassword() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", inFlight(maxMetrics, h.Metrics))
	mux.Handle("/", h.guarded())
	return mux
}

// isGuarded reports whether path is one that [Policy.Report] closes.
func isGuarded(path string) bool { return path == "/" || path == "/report" || path == "/status.json" }

// guarded answers the paths that [Policy.Report] closes.
func (h Handlers) guarded() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /report", inFlight(maxReports, h.guard(h.Report)))
	mux.Handle("GET /{$}", inFlight(maxPages, h.guard(h.Page.HTML())))
	mux.Handle("GET /status.json", inFlight(maxPages, h.guard(h.Page.JSON())))
	return mux
}

// guard answers with next where the policy lets r see the report.
func (h Handlers) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		policy := h.Policy().Report
		switch {
		case policy == Open || isLoopback(r.RemoteAddr):
			next.ServeHTTP(w, r)
		case policy == Authorised:
			if status, text := h.authorize(r); status != http.StatusOK {
				if status == http.StatusUnauthorized {
					w.Header().Set("WWW-Authenticate", "Bearer")
				}
				http.Error(w, text, status)
				return
			}
			next.ServeHTTP(w, r)
		default:
			http.Error(w, closedText, http.StatusNotFound)
		}
	})
}

const closedText = "This page is closed to other machines: it names the processes and files of every tenant of the node. " +
	"Set web.report to authorised or open in the configuration of nodetune, use kubectl port-forward, or run 'nodetune check' on the node."

func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}

func bearerToken(r *http.Request) (string, bool) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	return token, ok && strings.EqualFold(scheme, "Bearer") && token != ""
}

func (h Handlers) authorize(r *http.Request) (status int, text string) {
	token, ok := bearerToken(r)
	path := r.URL.Path
	if path == "/status.json" {
		path = "/" // who may see the page may have its data
	}
	switch {
	case h.Authorize == nil:
		return http.StatusServiceUnavailable, "web.report is authorised, and nodetune has no API server to ask; give --node-name, or set web.report to closed or open"
	case !ok:
		return http.StatusUnauthorized, "give the token of a service account or user that may get the non-resource URL " + path + ", in the header 'Authorization: Bearer TOKEN'"
	}
	return h.Authorize(r.Context(), token, path)
}
