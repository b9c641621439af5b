package agent

import (
	"testing"
	"time"
)

// Waiting costs nothing, and work costs something.
func TestThreadTime(t *testing.T) {
	if waited := threadTime(func() { time.Sleep(50 * time.Millisecond) }); waited >= 50*time.Millisecond {
		t.Errorf("waiting costs %s", waited)
	}
	sum := 0
	worked := threadTime(func() {
		for i := range 20_000_000 {
			sum += i * i
		}
	})
	if worked <= 0 || sum == 0 {
		t.Errorf("working costs %s", worked)
	}
}
