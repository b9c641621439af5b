package health

import (
	"fmt"
	"net/http"
	"time"
)

// Probe answers with 200, or with 503 and why not, and with the state of every
// task. It asks nobody: a node that has lost its API server is not to lose its
// agent too.
func Probe(progress *Progress, check func(passes []Pass, now time.Time) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		now, passes := time.Now(), progress.Passes()
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if err := check(passes, now); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintln(w, err)
		} else {
			fmt.Fprintln(w, "ok")
		}
		for _, line := range describe(passes, now) {
			fmt.Fprintln(w, line)
		}
	})
}
