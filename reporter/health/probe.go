package health

import (
	"fmt"
	"net/http"
	"time"
)

// Check returns what is wrong with the progress of the tasks, or nil.
type Check func(passes []Pass, now time.Time) error

// Probe answers with 200, or with 503 and the reason, and with the state of every
// task. It makes no request of its own: a node that has lost its API server must
// not lose its agent too.
func Probe(progress *Progress, check Check) http.Handler {
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
