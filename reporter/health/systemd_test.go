package health

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

// serviceManager is the receiving end of sd_notify(3).
func serviceManager(t *testing.T) (receive func() string) {
	t.Helper()
	addr := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"}
	conn, err := net.ListenUnixgram("unixgram", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	t.Setenv("NOTIFY_SOCKET", addr.Name)
	return func() string {
		t.Helper()
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		buf := make([]byte, 4096)
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("receive a notification: %v", err)
		}
		return string(buf[:n])
	}
}

func TestSystemdIsTold(t *testing.T) {
	receive := serviceManager(t)
	var s Systemd
	for _, tt := range []struct {
		say  func()
		want string
	}{
		{func() { s.Ready("5 rules in force") }, `^READY=1\nSTATUS=5 rules in force$`},
		{func() { s.Status("a\nREADY=1") }, `^STATUS=a READY=1$`},
		{s.Reloading, `^RELOADING=1\nMONOTONIC_USEC=[0-9]+$`},
		{s.Stopping, `^STOPPING=1$`},
	} {
		tt.say()
		if got := receive(); !regexp.MustCompile(tt.want).MatchString(got) {
			t.Errorf("systemd received %q, want %s", got, tt.want)
		}
	}
}

func TestWatchdogIsSilentWhenNothingProgresses(t *testing.T) {
	receive := serviceManager(t)
	t.Setenv("WATCHDOG_USEC", strconv.Itoa(int((20 * time.Millisecond).Microseconds())))
	t.Setenv("WATCHDOG_PID", "")
	ctx, cancel := context.WithCancel(t.Context())
	var asked atomic.Int64
	ended := make(chan error, 1)
	go func() {
		ended <- Systemd{}.Watchdog(ctx, func(time.Time) error {
			if asked.Add(1) > 2 {
				return errors.New("stuck")
			}
			return nil
		})
	}()
	for range 2 {
		if got := receive(); got != "WATCHDOG=1" {
			t.Errorf("got %q, want WATCHDOG=1", got)
		}
	}
	for asked.Load() < 4 {
		time.Sleep(time.Millisecond)
	}
	Systemd{}.Status("after") // the next message is this one, and no third WATCHDOG
	if got := receive(); got != "STATUS=after" {
		t.Errorf("a stuck agent renewed the watchdog: %q", got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestWithoutSystemdNothingHappens(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "")
	Systemd{}.Ready("x")
	if err := (Systemd{}).Watchdog(t.Context(), nil); err != nil {
		t.Error(err)
	}
}
