package text

import (
	"testing"
	"time"
)

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "0s", 90 * time.Second: "90s", 5*time.Minute + 20*time.Second: "5m", 3 * time.Hour: "3h",
		72 * time.Hour: "3d", 700 * 24 * time.Hour: "700d", 10000 * 24 * time.Hour: ">2y",
	} {
		if got := HumanDuration(d); got != want {
			t.Errorf("%s is written %s, want %s", d, got, want)
		}
	}
}
