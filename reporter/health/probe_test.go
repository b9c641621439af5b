package health

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestProbe(t *testing.T) {
	var progress Progress
	progress.Begin("sysctl", time.Minute, time.Now())
	progress.End("sysctl", errors.New("open /proc/sys/fs/file-max: too many open files in system"), time.Minute, time.Now())
	for _, tt := range []struct {
		name  string
		check Check
		code  int
		first string
	}{
		{"alive", Live("sysctl"), http.StatusOK, "ok"},
		{"not ready", func([]Pass, time.Time) error { return errors.New("no configuration") }, http.StatusServiceUnavailable, "no configuration"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			Probe(&progress, tt.check).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
			first, rest, _ := strings.Cut(w.Body.String(), "\n")
			if w.Code != tt.code || first != tt.first {
				t.Errorf("got %d %q, want %d %q", w.Code, first, tt.code, tt.first)
			}
			if !strings.Contains(rest, "sysctl: last pass failed: open /proc/sys/fs/file-max") {
				t.Errorf("the answer does not say how the task is:\n%s", rest)
			}
		})
	}
}
