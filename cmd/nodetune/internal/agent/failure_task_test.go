package agent

import (
	"testing"
	"time"
)

// A pass that hangs keeps the lock; the end of the agent does not wait for it.
func TestStopDoesNotWaitForAPass(t *testing.T) {
	var f failureTask
	f.mu.Lock() // by the pass
	defer f.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		f.stop()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("stop waits for the pass")
	}
}
