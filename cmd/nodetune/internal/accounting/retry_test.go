package accounting

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nodetune/nodetune/inotify/bpf"
)

func TestRetryAfter(t *testing.T) {
	temporary, other := fmt.Errorf("self-test: %w", bpf.ErrTemporary), errors.New("operation not permitted")
	for _, tt := range []struct {
		name   string
		failed []error
		want   time.Duration
	}{
		{"nothing failed", nil, 0},
		{"for a reason that passes", []error{temporary}, temporaryRetry},
		{"for another", []error{other}, otherRetry},
		{"both", []error{other, temporary}, temporaryRetry},
		{"both, the other way round", []error{temporary, other}, temporaryRetry},
	} {
		if got := retryAfter(tt.failed); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
