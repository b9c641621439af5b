package kube

import (
	"errors"
	"math"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/nodetune/nodetune/reporter/condition"
	"github.com/nodetune/nodetune/reporter/internal/reportertest"
)

func TestRetryAfter(t *testing.T) {
	throttled := func(seconds int) error { return apierrors.NewTooManyRequests("wait", seconds) }
	for _, tt := range []struct {
		name     string
		err      error
		failures int
		min, max time.Duration
	}{
		{"no hint", errors.New("connection refused"), 0, firstRetry / 2, firstRetry},
		{"no hint after many", errors.New("connection refused"), 20, lastRetry / 2, lastRetry},
		{"longer than the back-off", throttled(20), 0, 20 * time.Second, 30 * time.Second},
		{"shorter than the back-off", throttled(1), 6, 32 * time.Second, 64 * time.Second},
		{"a server that asks for a day", throttled(86400), 0, lastRetry, lastRetry},
		{"a server that asks for nothing", throttled(0), 0, firstRetry / 2, firstRetry},
		{"a server that asks for a negative time", throttled(-5), 0, firstRetry / 2, firstRetry},
		{"the largest number there is", throttled(math.MaxInt32), 0, lastRetry, lastRetry},
		{"server timeout with a hint", apierrors.NewServerTimeout(schema.GroupResource{Resource: "nodes"}, "patch", 10), 0, 10 * time.Second, 15 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, random := range []float64{0, 0.5, 0.999} {
				p := writeSchedule{failures: tt.failures}
				p.failed("k", tt.err, false, reportertest.Noon, random)
				if got := p.retry.Sub(reportertest.Noon); got < tt.min || got > tt.max {
					t.Errorf("with %v the next try is after %v, want %v to %v", random, got, tt.min, tt.max)
				}
			}
		})
	}
}

// The API server that answers again shortens the wait once, after what it asked
// for, and not for every flap.
func TestRetryNow(t *testing.T) {
	policy := condition.DefaultPolicy()
	now := reportertest.Noon
	p := writeSchedule{failures: 20}
	p.failed("k", errors.New("away"), false, now, 0)
	p.retryNow(policy, now, 0.999)
	if got := p.retry.Sub(now); got < 20*time.Second || got > backSpread+policy.Debounce.D() {
		t.Errorf("the last of many nodes comes after %v, want about %v", got, backSpread)
	}
	if p.failures == 0 {
		t.Error("the back-off begins again")
	}
	now = now.Add(time.Minute)
	p.failed("k", errors.New("away"), false, now, 0)
	was := p.retry
	p.retryNow(policy, now, 0)
	if !p.retry.Equal(was) {
		t.Error("the wait is shortened again a minute later")
	}
	p = writeSchedule{}
	p.failed("k", apierrors.NewTooManyRequests("wait", 60), false, now, 0)
	p.retryNow(policy, now, 0)
	if got := p.retry.Sub(now); got < time.Minute {
		t.Errorf("the server asked for a minute, the next try is after %v", got)
	}
}
